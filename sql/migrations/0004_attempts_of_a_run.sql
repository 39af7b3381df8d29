-- Attempts are counted within a run: a job that becomes ready in a later run is at attempt 1 again. To know whether its
-- attempt belongs to the current run, a retry notes the run. NULL (never retried in any run, or at attempt 1 since)
-- takes no space in a row, so start_job and complete_job pay nothing for it.
ALTER TABLE torc.job ADD COLUMN attempt_run_id bigint;

UPDATE torc.job AS job
SET attempt_run_id = status.run_id
FROM torc.workflow_status AS status
WHERE status.workflow_id = job.workflow_id AND job.attempt_id > 1;
