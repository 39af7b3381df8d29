-- Checks that the run that a client names is the workflow's: a worker of an earlier run must not change jobs of this
-- one. Raises TC422.
CREATE OR REPLACE FUNCTION torc.check_run_id(p_workflow_id bigint, p_run_id bigint)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
BEGIN
    IF v_run_id <> p_run_id THEN
        PERFORM torc.fail(
            'TC422',
            format('Run ID mismatch: provided %s but workflow status has %s', p_run_id, v_run_id),
            jsonb_build_object('field', 'run_id', 'value', p_run_id)
        );
    END IF;
END
$$;
