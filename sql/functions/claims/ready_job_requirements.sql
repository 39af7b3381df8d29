-- What the ready jobs of a workflow need together: sums of cpus, gpus and memory (GiB), maxima of nodes and runtime.
-- A sum that does not fit into 64 bits is the largest or smallest number that does, because the stored requirements are
-- valid and a reader needs an answer.
-- p_scheduler_config_id given: of the jobs pinned to no scheduler or to that one. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.ready_job_requirements(
    p_workflow_id bigint,
    p_scheduler_config_id bigint DEFAULT NULL,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        SELECT json_build_object(
            'num_jobs', count(*),
            'num_cpus', torc.clamp_to_64_bits(coalesce(sum(requirements.num_cpus), 0)),
            'num_gpus', torc.clamp_to_64_bits(coalesce(sum(requirements.num_gpus), 0)),
            'memory_gb', coalesce(sum(requirements.memory_bytes), 0)::float8 / 1073741824,
            'max_num_nodes', coalesce(max(requirements.num_nodes), 0),
            'max_runtime', torc.format_duration(coalesce(max(requirements.runtime_s), 0))
        )
        FROM torc.job AS job
        CROSS JOIN LATERAL (
            SELECT * FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
        ) AS requirements
        WHERE job.workflow_id = p_workflow_id AND job.status = 'ready'
            AND (
                p_scheduler_config_id IS NULL OR job.scheduler_id IS NULL
                OR job.scheduler_id = p_scheduler_config_id
            )
    );
END
$$;
