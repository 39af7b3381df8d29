-- What initialize_jobs and process_changed_job_inputs of large workflows pay for.

-- Hashes are stored when they are about to change, see input_hashes.sql. 0: rows of torc.job_internal say it all.
ALTER TABLE torc.workflow_status ADD COLUMN initialized_until bigint NOT NULL DEFAULT 0;
ALTER TABLE torc.job_internal ALTER COLUMN input_hash DROP NOT NULL;

-- initialize_jobs finds a cycle only if there is such an edge; mostly there is none.
CREATE INDEX job_depends_on_upward_idx ON torc.job_depends_on (job_id) WHERE depends_on_job_id > job_id;
