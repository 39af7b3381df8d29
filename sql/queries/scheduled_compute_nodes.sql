-- name: create_scheduled_compute_node(body, caller, enforced, dialect)
-- Also tells open streams.
WITH created AS (
    INSERT INTO torc.scheduled_compute_node AS node (
        workflow_id, scheduler_id, scheduler_config_id, scheduler_type, status
    )
    SELECT workflow_id, scheduler_id, scheduler_config_id, scheduler_type, status
    FROM jsonb_populate_record(NULL::torc.scheduled_compute_node, :body::jsonb)
    WHERE torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    RETURNING node.*, node AS item
)

SELECT
    torc.scheduled_compute_node_json(item)::text,
    torc.publish_event(workflow_id, 'scheduler_node_created', 'info', jsonb_build_object(
        'category', 'scheduler', 'scheduled_compute_node_id', id, 'scheduler_id', scheduler_id,
        'scheduler_config_id', scheduler_config_id, 'scheduler_type', scheduler_type, 'status', status
    ))
FROM created;

-- name: get_scheduled_compute_node(id, caller, enforced, dialect)
SELECT torc.scheduled_compute_node_json(node)::text
FROM torc.scheduled_compute_node AS node
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_scheduled_compute_nodes(workflow_id, scheduler_id, scheduler_config_id, status, offset, limit, caller, enforced, dialect)
-- Scheduled compute nodes of a workflow, one page; served by scheduled_compute_node_workflow_id_idx. The ids come as
-- text: what is not a number matches nothing.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT node.*, node AS item
    FROM torc.scheduled_compute_node AS node
    WHERE workflow_id = :workflow_id
        AND (:scheduler_id::text IS NULL OR scheduler_id::text = :scheduler_id)
        AND (:scheduler_config_id::text IS NULL OR scheduler_config_id::text = :scheduler_config_id)
        AND (:status::text IS NULL OR status = :status)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.scheduled_compute_node_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_scheduled_compute_node(id, body, caller, enforced, dialect)
SELECT torc.update_scheduled_compute_node(:id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_scheduled_compute_node(id, caller, enforced, dialect)
SELECT torc.delete_scheduled_compute_node(:id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_scheduled_compute_nodes(workflow_id, caller, enforced, dialect)
SELECT torc.delete_scheduled_compute_nodes(:workflow_id, (:caller, :enforced, :dialect)::torc.caller);
