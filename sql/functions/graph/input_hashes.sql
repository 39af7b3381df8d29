-- What a job's outcome depends on, as a SHA-256 per job of the workflow: command, invocation script (empty as unset),
-- environment, dependencies, files, user data and the data of the inputs. Stored by initialize_jobs, compared by
-- process_changed_job_inputs. jsonb has one text for equal values, so the order of keys does not matter.
CREATE OR REPLACE FUNCTION torc.input_hashes(p_workflow_id bigint)
RETURNS TABLE (job_id bigint, input_hash bytea)
LANGUAGE sql STABLE
AS $$
    SELECT
        job.id,
        sha256(convert_to(json_build_array(
            job.command,
            nullif(job.invocation_script, ''),
            CASE
                WHEN job.has_dependencies OR job.has_links THEN ARRAY(
                    SELECT edge.depends_on_job_id FROM torc.job_depends_on AS edge WHERE edge.job_id = job.id ORDER BY 1
                )
                ELSE '{}'
            END,
            CASE
                WHEN job.has_links THEN ARRAY(
                    SELECT input.file_id FROM torc.job_input_file AS input WHERE input.job_id = job.id ORDER BY 1
                )
                ELSE '{}'
            END,
            CASE
                WHEN job.has_links THEN ARRAY(
                    SELECT output.file_id FROM torc.job_output_file AS output WHERE output.job_id = job.id ORDER BY 1
                )
                ELSE '{}'
            END,
            CASE
                WHEN job.has_links THEN (
                    SELECT jsonb_agg(jsonb_build_array(
                        input.user_data_id, (SELECT data FROM torc.user_data WHERE id = input.user_data_id)
                    ) ORDER BY input.user_data_id)
                    FROM torc.job_input_user_data AS input
                    WHERE input.job_id = job.id
                )
            END,
            CASE
                WHEN job.has_links THEN ARRAY(
                    SELECT output.user_data_id
                    FROM torc.job_output_user_data AS output
                    WHERE output.job_id = job.id
                    ORDER BY 1
                )
                ELSE '{}'
            END,
            job.env
        )::text, 'UTF8'))
    FROM torc.job AS job
    WHERE job.workflow_id = p_workflow_id
$$;
