-- name: create_slurm_scheduler(workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra, serialize_allocations, caller, enforced, dialect)
INSERT INTO torc.slurm_scheduler (
    workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra,
    serialize_allocations
)
VALUES (
    torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller),
    :name, :account, :gres, :mem, :nodes, :ntasks_per_node, :partition, :qos, :tmp, :walltime, :extra,
    coalesce(:serialize_allocations::boolean, false)
)
RETURNING id;

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

-- name: update_slurm_scheduler(id, workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra, serialize_allocations, caller, enforced, dialect)
-- Overwrites account, nodes and walltime; of the others, keeps what is NULL.
UPDATE torc.slurm_scheduler AS scheduler
SET
    name = coalesce(:name, name),
    account = :account,
    gres = coalesce(:gres, gres),
    mem = coalesce(:mem, mem),
    nodes = :nodes,
    ntasks_per_node = coalesce(:ntasks_per_node, ntasks_per_node),
    partition = coalesce(:partition, partition),
    qos = coalesce(:qos, qos),
    tmp = coalesce(:tmp, tmp),
    walltime = :walltime,
    extra = coalesce(:extra, extra),
    serialize_allocations = coalesce(:serialize_allocations, serialize_allocations)
WHERE id = :id
    AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.stays_in_workflow(workflow_id, :workflow_id)
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
