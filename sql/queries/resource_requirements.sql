-- name: create_resource_requirements(body, caller, enforced, dialect)
SELECT torc.create_resource_requirements(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_resource_requirements(id, caller, enforced, dialect)
SELECT torc.resource_requirements_json(requirements)::text
FROM torc.resource_requirements AS requirements
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_resource_requirements(workflow_id, job_id, name, memory, num_cpus, num_gpus, num_nodes, runtime, offset, limit, caller, enforced, dialect)
-- Resource requirements of a workflow, one page; served by resource_requirements_workflow_id_idx. runtime: seconds.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT requirements.*, requirements AS item
    FROM torc.resource_requirements AS requirements
    WHERE workflow_id = :workflow_id
        AND (
            :job_id::bigint IS NULL
            OR id = (SELECT resource_requirements_id FROM torc.job WHERE job.id = :job_id)
        )
        AND (:name::text IS NULL OR name = :name)
        AND (:memory::text IS NULL OR memory = :memory)
        AND (:num_cpus::bigint IS NULL OR num_cpus = :num_cpus)
        AND (:num_gpus::bigint IS NULL OR num_gpus = :num_gpus)
        AND (:num_nodes::bigint IS NULL OR num_nodes = :num_nodes)
        AND (:runtime::bigint IS NULL OR runtime_s = :runtime)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.resource_requirements_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_resource_requirements(id, body, caller, enforced, dialect)
SELECT torc.update_resource_requirements(:id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_resource_requirement(id, caller, enforced, dialect)
SELECT torc.delete_resource_requirement(:id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_resource_requirements(workflow_id, caller, enforced, dialect)
SELECT torc.delete_resource_requirements(:workflow_id, (:caller, :enforced, :dialect)::torc.caller);
