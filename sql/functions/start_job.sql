-- Moves a pending job to running and records the compute node that runs it. Sent again for the same node, it answers
-- as before. Locks: workflow shared, the job's row. Raises TC404, TC403, TC409 (not pending), TC422 (run, node).
-- Each job passes here, so what mostly has nothing to do is asked for in an IF, not by PERFORM, which is a statement.
CREATE OR REPLACE FUNCTION torc.start_job(
    p_job_id bigint,
    p_run_id bigint,
    p_compute_node_id bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
BEGIN
    IF torc.current_run_id(v_job.workflow_id) <> p_run_id THEN
        PERFORM torc.check_run_id(v_job.workflow_id, p_run_id);
    END IF;
    IF v_job.status = 'running' AND v_job.active_compute_node_id = p_compute_node_id THEN
        RETURN torc.job_with_relations_json(v_job);
    END IF;
    IF v_job.status <> 'pending' THEN
        PERFORM torc.fail('TC409', format(
            'Job %s has status %s. Only a pending job can be started: claim it first', p_job_id, v_job.status
        ));
    END IF;
    IF p_caller.enforced THEN
        PERFORM torc.authorize_node_reference(v_job.workflow_id, p_compute_node_id, p_caller);
    END IF;
    UPDATE torc.job
    SET status = 'running', active_compute_node_id = p_compute_node_id
    WHERE id = p_job_id
    RETURNING * INTO v_job;
    IF torc.is_watched(v_job.workflow_id) THEN
        PERFORM torc.publish_event(v_job.workflow_id, 'job_started', 'info', jsonb_build_object(
            'job_id', p_job_id, 'job_name', v_job.name, 'compute_node_id', p_compute_node_id, 'run_id', p_run_id
        ));
    END IF;
    RETURN torc.job_with_relations_json(v_job);
END
$$;
