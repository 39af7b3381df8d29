-- The five relation lists of a job by their names in the model, each ascending. For calls about a few jobs; those about
-- many read the tables themselves, in job_with_relations_json(), list_jobs, input_hashes() and the claims.
CREATE OR REPLACE FUNCTION torc.job_relations(p_job_id bigint)
RETURNS TABLE (field text, ids bigint[])
LANGUAGE sql STABLE
AS $$
    VALUES
        (
            'depends_on_job_ids',
            ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = p_job_id ORDER BY 1)
        ),
        ('input_file_ids', ARRAY(SELECT file_id FROM torc.job_input_file WHERE job_id = p_job_id ORDER BY 1)),
        ('output_file_ids', ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = p_job_id ORDER BY 1)),
        (
            'input_user_data_ids',
            ARRAY(SELECT user_data_id FROM torc.job_input_user_data WHERE job_id = p_job_id ORDER BY 1)
        ),
        (
            'output_user_data_ids',
            ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = p_job_id ORDER BY 1)
        )
$$;
