-- name: create_local_scheduler(body, caller, enforced, dialect)
-- Answers what was sent: the name is not stored.
INSERT INTO torc.local_scheduler AS scheduler (workflow_id, memory, num_cpus)
SELECT workflow_id, memory, num_cpus
FROM jsonb_populate_record(NULL::torc.local_scheduler, :body::jsonb)
WHERE torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING (:body::jsonb || jsonb_build_object('id', scheduler.id))::text;

-- name: get_local_scheduler(id, caller, enforced, dialect)
SELECT torc.local_scheduler_json(scheduler)::text
FROM torc.local_scheduler AS scheduler
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_local_schedulers(workflow_id, memory, num_cpus, offset, limit, caller, enforced, dialect)
-- Local schedulers of a workflow, one page; served by local_scheduler_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT scheduler.*, scheduler AS item
    FROM torc.local_scheduler AS scheduler
    WHERE workflow_id = :workflow_id
        AND (:memory::text IS NULL OR memory = :memory)
        AND (:num_cpus::bigint IS NULL OR num_cpus = :num_cpus)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.local_scheduler_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_local_scheduler(id, body, caller, enforced, dialect)
-- Keeps what the body does not have.
UPDATE torc.local_scheduler AS scheduler
SET memory = coalesce(new.memory, scheduler.memory), num_cpus = coalesce(new.num_cpus, scheduler.num_cpus)
FROM jsonb_populate_record(NULL::torc.local_scheduler, :body::jsonb) AS new
WHERE scheduler.id = :id
    AND torc.authorize_workflow(scheduler.workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.expect_unchanged('workflow_id', scheduler.workflow_id, new.workflow_id)
RETURNING torc.local_scheduler_json(scheduler)::text;

-- name: delete_local_scheduler(id, caller, enforced, dialect)
DELETE FROM torc.local_scheduler AS scheduler
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.local_scheduler_json(scheduler)::text;

-- name: delete_local_schedulers(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.local_scheduler AS scheduler
    USING allowed
    WHERE scheduler.workflow_id = allowed.workflow_id
    RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'local_scheduler', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
