-- Takes back 0007. What only newer clients know is lost; settings that were sent as objects stay, as text.
DROP TYPE torc.worker_pool;

DROP INDEX torc.job_ready_requirements_idx;
DROP INDEX torc.job_ready_scheduler_idx;
DROP INDEX torc.job_ready_idx;
CREATE INDEX job_ready_idx
    ON torc.job (workflow_id, priority DESC, id) WHERE status = 'ready' AND workflow_id IS NOT NULL;
CREATE INDEX job_ready_scheduler_idx
    ON torc.job (workflow_id, resource_requirements_id, scheduler_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;
CREATE INDEX job_ready_requirements_idx
    ON torc.job (workflow_id, resource_requirements_id, priority DESC, id)
    WHERE status = 'ready' AND workflow_id IS NOT NULL;

ALTER TABLE torc.slurm_scheduler DROP COLUMN serialize_allocations;
ALTER TABLE torc.compute_node
    DROP COLUMN avg_memory_bytes,
    DROP COLUMN peak_memory_bytes,
    DROP COLUMN avg_cpu_percent,
    DROP COLUMN peak_cpu_percent,
    DROP COLUMN sample_count,
    DROP COLUMN labels,
    DROP COLUMN end_time;
ALTER TYPE torc.new_job DROP ATTRIBUTE labels, DROP ATTRIBUTE env;
ALTER TABLE torc.job
    DROP COLUMN start_time,
    DROP COLUMN origin,
    DROP COLUMN labels,
    DROP COLUMN env;
ALTER TABLE torc.ro_crate_entity DROP COLUMN written_as_object;
ALTER TABLE torc.workflow_status DROP COLUMN is_reset, DROP COLUMN initialized_run_id;
ALTER TABLE torc.workflow
    DROP COLUMN submission_directory,
    DROP COLUMN dynamic_jobs,
    DROP COLUMN env,
    DROP COLUMN written_as_object;
ALTER TYPE torc.caller DROP ATTRIBUTE dialect;
DROP TYPE torc.dialect;
