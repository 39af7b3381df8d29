-- Stores a UserDataModel and its links to the jobs that are named, all or nothing; returns what was sent, with the id.
-- A link makes no dependency: initialize_jobs() does that.
-- Locks: the workflow shared if a job is named, so that the job cannot be deleted meanwhile.
-- Raises TC404, TC403; TC422 naming the parameter whose job is not in the workflow.
CREATE OR REPLACE FUNCTION torc.create_user_data(
    p_body jsonb,
    p_consumer_job_id bigint,
    p_producer_job_id bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.user_data := jsonb_populate_record(NULL::torc.user_data, p_body);
BEGIN
    IF p_consumer_job_id IS NULL AND p_producer_job_id IS NULL THEN
        PERFORM torc.authorize_workflow(v_new.workflow_id, p_caller);
    ELSE
        PERFORM torc.lock_workflow_shared(v_new.workflow_id, p_caller);
        PERFORM torc.expect_job(p_producer_job_id, v_new.workflow_id, 'producer_job_id');
        PERFORM torc.expect_job(p_consumer_job_id, v_new.workflow_id, 'consumer_job_id');
    END IF;

    INSERT INTO torc.user_data (workflow_id, name, is_ephemeral, data)
    VALUES (v_new.workflow_id, v_new.name, coalesce(v_new.is_ephemeral, false), v_new.data)
    RETURNING id INTO v_new.id;
    INSERT INTO torc.job_output_user_data (job_id, user_data_id)
    SELECT p_producer_job_id, v_new.id WHERE p_producer_job_id IS NOT NULL;
    INSERT INTO torc.job_input_user_data (job_id, user_data_id)
    SELECT p_consumer_job_id, v_new.id WHERE p_consumer_job_id IS NOT NULL;
    UPDATE torc.job SET has_links = true WHERE id IN (p_producer_job_id, p_consumer_job_id) AND NOT has_links;
    RETURN p_body || jsonb_build_object('id', v_new.id);
END
$$;
