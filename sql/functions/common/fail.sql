-- Ends the transaction with one of our own errors: TC400, TC403, TC404, TC409 or TC422 (the HTTP status in digits).
-- p_detail holds extra keys of the error object, such as field and value.
CREATE OR REPLACE FUNCTION torc.fail(p_code text, p_message text, p_detail jsonb DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = p_code, MESSAGE = p_message;
    END IF;
    RAISE EXCEPTION USING ERRCODE = p_code, MESSAGE = p_message, DETAIL = p_detail::text;
END
$$;

-- Raises TC422 for an id in a request whose row is not in the workflow.
CREATE OR REPLACE FUNCTION torc.fail_for_unknown(p_field text, p_id bigint, p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format('%s: row %s does not exist in workflow %s', p_field, p_id, p_workflow_id),
        jsonb_build_object('field', p_field, 'value', p_id)
    );
END
$$;
