-- name: create_compute_node(body, caller, enforced, dialect)
SELECT torc.create_compute_node(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_compute_node(id, caller, enforced, dialect)
SELECT torc.compute_node_json(node)::text
FROM torc.compute_node AS node
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_compute_nodes(workflow_id, hostname, is_active, scheduled_compute_node_id, offset, limit, caller, enforced, dialect)
-- Compute nodes of a workflow, one page; served by compute_node_workflow_id_idx. An is_active that was never set
-- matches neither true nor false.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT node.*, node AS item
    FROM torc.compute_node AS node
    WHERE workflow_id = :workflow_id
        AND (:hostname::text IS NULL OR torc.contains_text(hostname, :hostname))
        AND (:is_active::boolean IS NULL OR is_active = :is_active)
        AND (
            :scheduled_compute_node_id::bigint IS NULL
            OR scheduler -> 'scheduler_id' = to_jsonb(:scheduled_compute_node_id::bigint)
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.compute_node_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_compute_node(id, body, caller, enforced, dialect)
SELECT torc.update_compute_node(:id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_compute_node(id, caller, enforced, dialect)
DELETE FROM torc.compute_node AS node
WHERE id = :id
    AND torc.authorize_node_deletion(
        torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller), id,
        (:caller, :enforced, :dialect)::torc.caller
    ) IS NOT NULL
RETURNING torc.compute_node_json(node)::text;

-- name: delete_compute_nodes(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_node_deletion(
        torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller), NULL,
        (:caller, :enforced, :dialect)::torc.caller
    ) AS workflow_id
),

deleted AS (
    DELETE FROM torc.compute_node AS node USING allowed WHERE node.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'compute_node', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;

-- name: heartbeat(id, caller, enforced, dialect)
SELECT torc.heartbeat(:id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: give_back_jobs_of_node(id, unnamed_claims, dry_run, caller, enforced, dialect)
SELECT torc.give_back_jobs_of_node(
    :id, :unnamed_claims::boolean, :dry_run::boolean, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: note_nodes(ids, working)
SELECT torc.note_nodes(:ids::bigint[], :working::bigint[])::text;

-- name: find_silent_nodes(timeout, every)
SELECT * FROM torc.find_silent_nodes(:timeout, :every);

-- name: give_up_node(id, workflow_id, timeout)
SELECT torc.give_up_node(:id, :workflow_id, :timeout)::text;
