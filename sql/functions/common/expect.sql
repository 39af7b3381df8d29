-- Checks of ids in requests that several kinds of rows share.

-- For updates that name what a row belongs to (its workflow, its job), which never changes. Returns true, so that a
-- WHERE clause can hold it. Raises TC422 naming the field.
CREATE OR REPLACE FUNCTION torc.expect_unchanged(p_field text, p_current bigint, p_requested bigint)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_current <> p_requested THEN
        PERFORM torc.fail(
            'TC422',
            format('%s cannot be changed: the row has %s, got %s', p_field, p_current, p_requested),
            jsonb_build_object('field', p_field, 'value', p_requested)
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
