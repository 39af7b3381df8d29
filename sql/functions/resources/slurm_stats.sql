-- Slurm stats as they go on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.slurm_stats_json(s torc.slurm_stats)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', s.id,
        'workflow_id', s.workflow_id,
        'job_id', s.job_id,
        'run_id', s.run_id,
        'attempt_id', s.attempt_id,
        'slurm_job_id', s.slurm_job_id,
        'max_rss_bytes', s.max_rss_bytes,
        'max_vm_size_bytes', s.max_vm_size_bytes,
        'max_disk_read_bytes', s.max_disk_read_bytes,
        'max_disk_write_bytes', s.max_disk_write_bytes,
        'ave_cpu_seconds', s.ave_cpu_seconds,
        'node_list', s.node_list
    ))
$$;

-- Stores a SlurmStatsModel and returns it. Run and attempt are not compared with the job's.
-- Locks: the workflow shared, the job's row against deletion: there is no key from the stats to the job.
-- Raises TC404, TC403; TC422 for a job that is not in the workflow; a second one of the same job, run and attempt
-- breaks slurm_stats_job_id_run_id_attempt_id_key.
CREATE OR REPLACE FUNCTION torc.create_slurm_stats(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.slurm_stats := jsonb_populate_record(NULL::torc.slurm_stats, p_body);
BEGIN
    PERFORM torc.lock_workflow_shared(v_new.workflow_id, p_caller);
    PERFORM 1 FROM torc.job WHERE id = v_new.job_id AND workflow_id = v_new.workflow_id FOR KEY SHARE;
    IF NOT FOUND THEN
        PERFORM torc.fail_for_unknown('job_id', v_new.job_id, v_new.workflow_id);
    END IF;
    INSERT INTO torc.slurm_stats (
        workflow_id, job_id, run_id, attempt_id, slurm_job_id, max_rss_bytes, max_vm_size_bytes, max_disk_read_bytes,
        max_disk_write_bytes, ave_cpu_seconds, node_list
    )
    VALUES (
        v_new.workflow_id, v_new.job_id, v_new.run_id, v_new.attempt_id, v_new.slurm_job_id, v_new.max_rss_bytes,
        v_new.max_vm_size_bytes, v_new.max_disk_read_bytes, v_new.max_disk_write_bytes, v_new.ave_cpu_seconds,
        v_new.node_list
    )
    RETURNING * INTO v_new;
    RETURN torc.slurm_stats_json(v_new);
END
$$;
