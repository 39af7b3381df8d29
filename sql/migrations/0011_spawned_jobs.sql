-- For spawn_jobs: jobs and requirements are found by their names, and the records of a lineage are unique.

-- The first row of a name in one look-up, however many jobs the workflow has. A hash, because names may be longer than a
-- key of an index; with the workflow as its seed, so that the names that all workflows have are not found together.
CREATE INDEX job_name_idx ON torc.job (hashtextextended(name, workflow_id), id);
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
