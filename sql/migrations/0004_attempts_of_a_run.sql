-- Attempts are counted within a run: a job that becomes ready in a later run is at attempt 1 again. attempt_run_id is
-- the run in which the job was retried last, or in which initialize_jobs started it over although the run had a result
-- of it. NULL, the value of most jobs, means neither. Then complete_job need not query whether the attempt has a result
-- already. A NULL takes no space in the row.
ALTER TABLE torc.job ADD COLUMN attempt_run_id bigint;

UPDATE torc.job AS job
SET attempt_run_id = status.run_id
FROM torc.workflow_status AS status
WHERE status.workflow_id = job.workflow_id
    AND (
        job.attempt_id > 1
        OR EXISTS (SELECT 1 FROM torc.result WHERE job_id = job.id AND run_id = status.run_id AND NOT is_current)
    );
