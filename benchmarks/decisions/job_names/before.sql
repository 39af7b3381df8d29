-- The index that torc.job_name makes up for.
CREATE INDEX job_name_idx ON torc.job (hashtextextended(name, workflow_id), id);
