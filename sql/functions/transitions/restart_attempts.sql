-- Attempts are counted within a run. Sets the given jobs back to attempt 1 if a retry in another run raised their
-- attempt and they have no result in the current run. The caller holds the workflow's lock, and the jobs' rows if that
-- lock is shared. The subquery has OFFSET so that it stays an index scan per job, whatever the planner expects.
CREATE OR REPLACE FUNCTION torc.restart_attempts(p_workflow_id bigint, p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
BEGIN
    UPDATE torc.job
    SET attempt_id = 1, attempt_run_id = NULL
    WHERE id = ANY (p_job_ids)
        AND attempt_run_id <> v_run_id
        AND NOT EXISTS (SELECT 1 FROM torc.result WHERE job_id = job.id AND run_id = v_run_id OFFSET 0);
END
$$;

-- restart_attempts() for all jobs of a workflow that are waiting. The caller holds the exclusive lock.
CREATE OR REPLACE FUNCTION torc.restart_attempts(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.restart_attempts(p_workflow_id, ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id
            AND attempt_run_id IS NOT NULL
            AND torc.is_waiting(status)
    ));
END
$$;
