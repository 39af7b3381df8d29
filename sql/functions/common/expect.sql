-- Rules about ids in requests that several kinds of rows share.

-- For updates that name a workflow: rows stay in the workflow they were made in. Raises TC422.
CREATE OR REPLACE FUNCTION torc.stays_in_workflow(p_current bigint, p_requested bigint)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_current <> p_requested THEN
        PERFORM torc.fail(
            'TC422',
            format('workflow_id cannot be changed: the row belongs to workflow %s, got %s', p_current, p_requested),
            jsonb_build_object('field', 'workflow_id', 'value', p_requested)
        );
    END IF;
    RETURN true;
END
$$;

-- For updates of a result: it stays with its job. Raises TC422.
CREATE OR REPLACE FUNCTION torc.stays_with_job(p_current bigint, p_requested bigint)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_current <> p_requested THEN
        PERFORM torc.fail(
            'TC422',
            format('job_id cannot be changed: the result belongs to job %s, got %s', p_current, p_requested),
            jsonb_build_object('field', 'job_id', 'value', p_requested)
        );
    END IF;
    RETURN true;
END
$$;

-- Raises TC422 naming the field unless the job is in the workflow. NULL passes.
CREATE OR REPLACE FUNCTION torc.expect_job(p_job_id bigint, p_workflow_id bigint, p_field text)
RETURNS void
LANGUAGE plpgsql STRICT
AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM torc.job WHERE id = p_job_id AND workflow_id = p_workflow_id) THEN
        PERFORM torc.fail_for_unknown(p_field, p_job_id, p_workflow_id);
    END IF;
END
$$;
