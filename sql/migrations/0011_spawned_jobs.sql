-- For spawn_jobs: jobs and requirements are found by their names, and the records of a lineage are unique.

-- The names of jobs, of workflows that have spawned some. A hash, because names may be longer than a key of an index. Not
-- an index of torc.job, which each change of a status would write to: benchmarks/decisions/job_names. No row-by-row keys:
-- forget_deleted_jobs() removes what belonged to deleted jobs.
CREATE TABLE torc.job_name (
    workflow_id bigint NOT NULL,
    hash bigint NOT NULL,  -- hashtextextended(job.name, 0)
    job_id bigint NOT NULL,
    CONSTRAINT job_name_pkey PRIMARY KEY (workflow_id, hash, job_id)
);
-- The last job whose name is there. Jobs of a workflow are made under its exclusive lock, so their ids ascend.
ALTER TABLE torc.workflow_status ADD COLUMN names_until bigint NOT NULL DEFAULT 0;

-- The first row of a name in one look-up. With the workflow as its seed, so that the names that all workflows have are
-- not found together.
CREATE INDEX resource_requirements_name_idx ON torc.resource_requirements (hashtextextended(name, workflow_id), id);

-- Records that clients have made with such a name before it meant anything: the first one keeps it.
UPDATE torc.user_data AS record
SET name = 'duplicate of ' || name
WHERE starts_with(name, '__torc_lineage__')
    AND EXISTS (
        SELECT 1 FROM torc.user_data WHERE workflow_id = record.workflow_id AND name = record.name AND id < record.id
    );
CREATE UNIQUE INDEX user_data_workflow_id_name_key
    ON torc.user_data (workflow_id, name) WHERE starts_with(name, '__torc_lineage__');
