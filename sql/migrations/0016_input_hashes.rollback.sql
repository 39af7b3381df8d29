-- Takes back 0016. Hashes that were not stored are stored: of jobs without files and user data, as input_hash() has them.
INSERT INTO torc.job_internal (job_id, input_hash)
SELECT
    job.id,
    sha256(convert_to(json_build_array(
        job.command,
        nullif(job.invocation_script, ''),
        ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = job.id ORDER BY 1),
        '{}'::bigint[], '{}'::bigint[], NULL, '{}'::bigint[],
        job.env
    )::text, 'UTF8'))
FROM torc.workflow_status AS run
INNER JOIN torc.job AS job
    ON job.workflow_id = run.workflow_id AND job.id <= run.initialized_until AND NOT job.has_links
ON CONFLICT (job_id) DO NOTHING;
DELETE FROM torc.job_internal WHERE input_hash IS NULL;
ALTER TABLE torc.job_internal ALTER COLUMN input_hash SET NOT NULL;
ALTER TABLE torc.workflow_status DROP COLUMN initialized_until;
DROP INDEX torc.job_depends_on_upward_idx;
