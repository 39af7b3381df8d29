-- Stores a ResultModel as the current result of its job; returns it as it was sent, with its id. The status of the job
-- stays as it is: complete_job() is what moves jobs. Without attempt_id it is stored as that of the job's attempt.
-- Locks: the workflow exclusive, because complete_job() sees only those results being stored that change the job's row;
-- the job's row. Raises TC404, TC403; TC422 for a job that is not in the workflow; the result's own constraints (see
-- store_result).
CREATE OR REPLACE FUNCTION torc.create_result(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.result := jsonb_populate_record(NULL::torc.result, p_body);
    v_job torc.job;
    v_stored torc.result;
BEGIN
    PERFORM torc.lock_workflow(v_new.workflow_id, p_caller);
    SELECT * INTO v_job FROM torc.job WHERE id = v_new.job_id AND workflow_id = v_new.workflow_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM torc.fail_for_unknown('job_id', v_new.job_id, v_new.workflow_id);
    END IF;
    IF v_new.exit_code IS NOT NULL THEN
        v_new := torc.fill_in_result(v_new, v_job);
    END IF;
    PERFORM torc.authorize_node_reference(v_new.workflow_id, v_new.compute_node_id, p_caller);
    PERFORM torc.keep_references(v_new.workflow_id, 'compute_node_id', ARRAY[v_new.compute_node_id]);
    v_stored := v_new;
    v_stored.attempt_id := coalesce(v_new.attempt_id, v_job.attempt_id);
    v_new.id := torc.store_result(v_stored);
    RETURN torc.result_json(v_new);
END
$$;

-- The form of the documentation page holds only exit_code, stdout and stderr: the rest is that of the stored job.
-- Raises TC422 when there is no compute node to name.
CREATE OR REPLACE FUNCTION torc.fill_in_result(p_result torc.result, p_job torc.job)
RETURNS torc.result
LANGUAGE plpgsql
AS $$
BEGIN
    p_result.return_code := coalesce(p_result.return_code, p_result.exit_code);
    p_result.status := coalesce(
        p_result.status, CASE WHEN p_result.return_code = 0 THEN 'completed' ELSE 'failed' END::torc.job_status
    );
    p_result.run_id := coalesce(
        p_result.run_id, (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_result.workflow_id)
    );
    p_result.attempt_id := coalesce(p_result.attempt_id, p_job.attempt_id);
    p_result.exec_time_minutes := coalesce(p_result.exec_time_minutes, 0);
    p_result.completion_time := coalesce(
        p_result.completion_time, to_char(torc.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    );
    p_result.compute_node_id := coalesce(
        p_result.compute_node_id,
        p_job.active_compute_node_id,
        (SELECT min(id) FROM torc.compute_node WHERE workflow_id = p_result.workflow_id)
    );
    IF p_result.compute_node_id IS NULL THEN
        PERFORM torc.fail(
            'TC422',
            format('compute_node_id is missing, and workflow %s has no compute node', p_result.workflow_id),
            jsonb_build_object('field', 'compute_node_id')
        );
    END IF;
    RETURN p_result;
END
$$;
