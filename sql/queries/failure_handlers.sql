-- name: create_failure_handler(body, caller, enforced, dialect)
INSERT INTO torc.failure_handler AS handler (workflow_id, name, rules)
SELECT workflow_id, name, rules
FROM jsonb_populate_record(NULL::torc.failure_handler, :body::jsonb)
WHERE torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.failure_handler_json(handler)::text;

-- name: get_failure_handler(id, caller, enforced, dialect)
SELECT torc.failure_handler_json(handler)::text
FROM torc.failure_handler AS handler
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_failure_handlers(workflow_id, offset, limit, caller, enforced, dialect)
-- Failure handlers of a workflow, one page; served by failure_handler_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT id, handler AS item FROM torc.failure_handler AS handler WHERE workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.failure_handler_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: delete_failure_handler(id, caller, enforced, dialect)
-- Jobs stay, without a handler. The message is for clients that know no other answer.
DELETE FROM torc.failure_handler AS handler
WHERE id = :id
    AND torc.authorize_handler_deletion(
        torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller), id,
        (:caller, :enforced, :dialect)::torc.caller
    ) IS NOT NULL
RETURNING (torc.failure_handler_json(handler) || '{"message": "Failure handler deleted successfully"}')::text;
