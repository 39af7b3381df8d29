-- What every change of a status and every new job pays for: benchmarks/decisions/keys_of_jobs.

-- Workflows whose jobs or results name requirements, failure handlers or compute nodes of another workflow. Rows of the
-- same workflow are found by that; only these few have to be written down. See sql/functions/references.
CREATE TABLE torc.cross_reference (
    field text COLLATE "C",  -- resource_requirements_id, failure_handler_id, compute_node_id
    id bigint,  -- of the row that is named
    workflow_id bigint,  -- whose jobs or results may name it
    CONSTRAINT cross_reference_pkey PRIMARY KEY (field, id, workflow_id),
    CONSTRAINT cross_reference_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES torc.workflow(id) ON DELETE CASCADE
);
CREATE INDEX cross_reference_workflow_id_idx ON torc.cross_reference (workflow_id);

INSERT INTO torc.cross_reference (field, id, workflow_id)
SELECT DISTINCT 'resource_requirements_id', named.id, job.workflow_id
FROM torc.job AS job
INNER JOIN torc.resource_requirements AS named ON named.id = job.resource_requirements_id
WHERE named.workflow_id <> job.workflow_id
UNION
SELECT DISTINCT 'failure_handler_id', named.id, job.workflow_id
FROM torc.job AS job
INNER JOIN torc.failure_handler AS named ON named.id = job.failure_handler_id
WHERE named.workflow_id <> job.workflow_id
UNION
SELECT DISTINCT 'compute_node_id', named.id, result.workflow_id
FROM torc.result AS result
INNER JOIN torc.compute_node AS named ON named.id = result.compute_node_id
WHERE named.workflow_id <> result.workflow_id;

-- A key costs each new row 4 to 5 µs, and a start or a completion 15, because it locks the row that is named. The rules
-- stay: functions check what they write, and triggers for whole statements delete or change what names a deleted row.
ALTER TABLE torc.job
    DROP CONSTRAINT job_workflow_id_fkey,
    DROP CONSTRAINT job_resource_requirements_id_fkey,
    DROP CONSTRAINT job_failure_handler_id_fkey,
    DROP CONSTRAINT job_active_compute_node_id_fkey;
ALTER TABLE torc.result
    DROP CONSTRAINT result_compute_node_id_fkey;

-- Each was written to three times in the life of a job, and is not needed where the workflow is known.
DROP INDEX torc.job_resource_requirements_id_idx;
DROP INDEX torc.job_failure_handler_id_idx;
DROP INDEX torc.result_compute_node_id_idx;
-- The key of job, run and attempt finds the current one as well; that there is one at most, the lock of the job's row
-- sees to.
DROP INDEX torc.result_current_idx;
