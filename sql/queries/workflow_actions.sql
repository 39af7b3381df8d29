-- name: create_workflow_action(workflow_id, body, caller, enforced, dialect)
SELECT torc.create_workflow_action(:workflow_id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_workflow_actions(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

SELECT coalesce(
    (
        SELECT json_agg(torc.workflow_action_json(action) ORDER BY action.id)
        FROM torc.workflow_action AS action
        WHERE action.workflow_id = allowed.workflow_id
    ),
    '[]'
)::text
FROM allowed;

-- name: list_pending_actions(workflow_id, trigger_types, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

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
FROM allowed;

-- name: claim_action(workflow_id, action_id, compute_node_id, caller, enforced, dialect)
SELECT torc.claim_action(:workflow_id, :action_id, :compute_node_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: merge_action_config(workflow_id, action_id, updates, caller, enforced, dialect)
-- An action's type and what its configuration would be with the updates; nothing is stored.
SELECT torc.merge_action_config(
    :workflow_id, :action_id, :updates::jsonb, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: update_workflow_action(workflow_id, action_id, updates, caller, enforced, dialect)
SELECT torc.update_workflow_action(
    :workflow_id, :action_id, :updates::jsonb, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: delete_workflow_action(workflow_id, action_id, caller, enforced, dialect)
SELECT torc.delete_workflow_action(:workflow_id, :action_id, (:caller, :enforced, :dialect)::torc.caller);
