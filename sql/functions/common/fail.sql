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
