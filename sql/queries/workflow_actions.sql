-- name: create_workflow_action(workflow_id, body, caller, enforced)
SELECT torc.create_workflow_action(:workflow_id, :body::jsonb, (:caller, :enforced)::torc.caller)::text;

-- name: list_workflow_actions(workflow_id, caller, enforced)
SELECT coalesce(
    (
        SELECT json_agg(torc.workflow_action_json(action) ORDER BY action.id)
        FROM torc.workflow_action AS action
        WHERE action.workflow_id = allowed.workflow_id
    ),
    '[]'
)::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed;

-- name: list_pending_actions(workflow_id, trigger_types, caller, enforced)
SELECT coalesce(
    (
        SELECT json_agg(torc.workflow_action_json(action) ORDER BY action.id)
        FROM torc.workflow_action AS action
        WHERE action.workflow_id = allowed.workflow_id
            AND torc.is_pending(action)
            AND (:trigger_types::text[] IS NULL OR action.trigger_type = ANY (:trigger_types::text[]))
    ),
    '[]'
)::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed;

-- name: claim_action(workflow_id, action_id, compute_node_id, caller, enforced)
SELECT torc.claim_action(:workflow_id, :action_id, :compute_node_id, (:caller, :enforced)::torc.caller)::text;
