-- What a job's outcome depends on, as a SHA-256: command, invocation script (empty as unset), environment,
-- dependencies, files, user data and the data of the inputs. process_changed_job_inputs compares it with what it was
-- when initialize_jobs was last called. jsonb has one text for equal values, so the order of keys does not matter.
-- Inlined.
--
-- The hash of that time is in torc.job_internal; or the job has no row there, has no files and user data, and is not
-- newer than workflow_status.initialized_until: then it equals the present one. Most jobs are of that kind: to hash and
-- store 100,000 of them took a third of their initialize_jobs (benchmarks/decisions/hashes_when_changed). Whatever
-- changes such a job calls keep_input_hashes() before: update_job and forget_deleted_jobs do, and so must an
-- operator who changes the command of a job by a statement. (A trigger that does it made each start 3 % slower.)
CREATE OR REPLACE FUNCTION torc.input_hash(j torc.job)
RETURNS TABLE (input_hash bytea)
LANGUAGE sql STABLE
AS $$
    SELECT sha256(convert_to(json_build_array(
        j.command,
        nullif(j.invocation_script, ''),
        CASE
            WHEN j.has_dependencies OR j.has_links THEN ARRAY(
                SELECT edge.depends_on_job_id FROM torc.job_depends_on AS edge WHERE edge.job_id = j.id ORDER BY 1
            )
            ELSE '{}'
        END,
        CASE
            WHEN j.has_links THEN ARRAY(
                SELECT input.file_id FROM torc.job_input_file AS input WHERE input.job_id = j.id ORDER BY 1
            )
            ELSE '{}'
        END,
        CASE
            WHEN j.has_links THEN ARRAY(
                SELECT output.file_id FROM torc.job_output_file AS output WHERE output.job_id = j.id ORDER BY 1
            )
            ELSE '{}'
        END,
        CASE
            WHEN j.has_links THEN (
                SELECT jsonb_agg(jsonb_build_array(
                    input.user_data_id, (SELECT data FROM torc.user_data WHERE id = input.user_data_id)
                ) ORDER BY input.user_data_id)
                FROM torc.job_input_user_data AS input
                WHERE input.job_id = j.id
            )
        END,
        CASE
            WHEN j.has_links THEN ARRAY(
                SELECT output.user_data_id
                FROM torc.job_output_user_data AS output
                WHERE output.job_id = j.id
                ORDER BY 1
            )
            ELSE '{}'
        END,
        j.env
    )::text, 'UTF8'))
$$;

-- Stores what was left unstored of the given jobs, as they are now. The caller holds the locks of their workflows.
CREATE OR REPLACE FUNCTION torc.keep_input_hashes(p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO torc.job_internal (job_id, input_hash)
    SELECT job.id, now.input_hash
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.input_hash(job) AS now
    WHERE id = ANY (p_job_ids)
        AND NOT has_links
        AND id <= (SELECT initialized_until FROM torc.workflow_status WHERE workflow_id = job.workflow_id)
        AND NOT EXISTS (SELECT 1 FROM torc.job_internal WHERE job_id = job.id OFFSET 0);
END
$$;

-- From now on, process_changed_job_inputs compares the jobs of a workflow with this moment, except those of
-- p_kept_ids. The caller holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.renew_input_hashes(p_workflow_id bigint, p_kept_ids bigint[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_until bigint := (SELECT initialized_until FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
BEGIN
    DELETE FROM torc.job_internal
    WHERE job_id = ANY (ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND NOT has_links AND id <> ALL (p_kept_ids)
    ));
    INSERT INTO torc.job_internal (job_id, input_hash)
    SELECT job.id, now.input_hash
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.input_hash(job) AS now
    WHERE workflow_id = p_workflow_id AND has_links AND id <> ALL (p_kept_ids)
    ON CONFLICT (job_id) DO UPDATE
        SET input_hash = excluded.input_hash
        WHERE job_internal.input_hash IS DISTINCT FROM excluded.input_hash;
    -- A kept job that was never initialized has no hash to be compared with, and gets none by the next statement.
    INSERT INTO torc.job_internal (job_id, input_hash)
    SELECT id, NULL FROM unnest(p_kept_ids) AS kept (id) WHERE id > v_until
    ON CONFLICT (job_id) DO NOTHING;
    UPDATE torc.workflow_status
    SET initialized_until = coalesce(
        (SELECT id FROM torc.job WHERE workflow_id = p_workflow_id ORDER BY workflow_id DESC, id DESC LIMIT 1), 0
    )
    WHERE workflow_id = p_workflow_id;
END
$$;
