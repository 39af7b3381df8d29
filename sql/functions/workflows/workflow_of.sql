-- The id of a job's workflow. Raises TC404.
CREATE OR REPLACE FUNCTION torc.workflow_of_job(p_job_id bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_workflow_id bigint;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.job WHERE id = p_job_id;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Job not found with ID: %s', p_job_id));
    END IF;
    RETURN v_workflow_id;
END
$$;

-- The id of a compute node's workflow. Raises TC404.
CREATE OR REPLACE FUNCTION torc.workflow_of_node(p_node_id bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_workflow_id bigint;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.compute_node WHERE id = p_node_id;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Compute node not found with ID: %s', p_node_id));
    END IF;
    RETURN v_workflow_id;
END
$$;
