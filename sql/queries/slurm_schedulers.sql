-- name: create_slurm_scheduler(body, caller, enforced, dialect)
INSERT INTO torc.slurm_scheduler AS scheduler (
    workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra,
    serialize_allocations
)
SELECT
    workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra,
    coalesce(serialize_allocations, false)
FROM jsonb_populate_record(NULL::torc.slurm_scheduler, :body::jsonb)
WHERE torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.slurm_scheduler_json(scheduler)::text;

-- name: get_slurm_scheduler(id, caller, enforced, dialect)
SELECT torc.slurm_scheduler_json(scheduler)::text
FROM torc.slurm_scheduler AS scheduler
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_slurm_schedulers(workflow_id, offset, limit, caller, enforced, dialect)
-- Slurm schedulers of a workflow, one page; served by slurm_scheduler_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT scheduler.*, scheduler AS item FROM torc.slurm_scheduler AS scheduler WHERE workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.slurm_scheduler_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_slurm_scheduler(id, body, caller, enforced, dialect)
-- Overwrites account, nodes and walltime; of the others, keeps those that the body does not have.
UPDATE torc.slurm_scheduler AS scheduler
SET
    name = coalesce(new.name, scheduler.name),
    account = new.account,
    gres = coalesce(new.gres, scheduler.gres),
    mem = coalesce(new.mem, scheduler.mem),
    nodes = new.nodes,
    ntasks_per_node = coalesce(new.ntasks_per_node, scheduler.ntasks_per_node),
    partition = coalesce(new.partition, scheduler.partition),
    qos = coalesce(new.qos, scheduler.qos),
    tmp = coalesce(new.tmp, scheduler.tmp),
    walltime = new.walltime,
    extra = coalesce(new.extra, scheduler.extra),
    serialize_allocations = coalesce(new.serialize_allocations, scheduler.serialize_allocations)
FROM jsonb_populate_record(NULL::torc.slurm_scheduler, :body::jsonb) AS new
WHERE scheduler.id = :id
    AND torc.authorize_workflow(scheduler.workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.expect_unchanged('workflow_id', scheduler.workflow_id, new.workflow_id)
RETURNING torc.slurm_scheduler_json(scheduler)::text;

-- name: delete_slurm_scheduler(id, caller, enforced, dialect)
-- Jobs and actions keep its id: they name a scheduler by convention only.
DELETE FROM torc.slurm_scheduler AS scheduler
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.slurm_scheduler_json(scheduler)::text;

-- name: delete_slurm_schedulers(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.slurm_scheduler AS scheduler
    USING allowed
    WHERE scheduler.workflow_id = allowed.workflow_id
    RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'slurm_scheduler', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
