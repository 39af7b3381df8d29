-- name: create_remote_workers(workflow_id, workers, caller, enforced, dialect)
-- All or none; those that are there already stay. Inserted in order, so that two requests never wait for each other.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

added AS (
    INSERT INTO torc.remote_worker (workflow_id, worker)
    SELECT allowed.workflow_id, sent.worker
    FROM allowed
    CROSS JOIN unnest(:workers::text[]) AS sent (worker)
    ORDER BY sent.worker
    ON CONFLICT DO NOTHING
)

SELECT workflow_id FROM allowed;

-- name: list_remote_workers(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

SELECT coalesce(
    json_agg(
        json_build_object('worker', remote.worker, 'workflow_id', remote.workflow_id) ORDER BY remote.worker
    ) FILTER (WHERE remote.worker IS NOT NULL),
    '[]'
)::text
FROM allowed
LEFT JOIN torc.remote_worker AS remote ON remote.workflow_id = allowed.workflow_id;

-- name: delete_remote_worker(workflow_id, worker, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

DELETE FROM torc.remote_worker AS remote
USING allowed
WHERE remote.workflow_id = allowed.workflow_id AND remote.worker = :worker
RETURNING json_build_object('worker', remote.worker, 'workflow_id', remote.workflow_id)::text;
