-- Moves a pending job to running and records when, and on which compute node. Sent again for the same node, it answers
-- as before. Locks: workflow shared, the job's row. Raises TC404, TC403, TC409 (not pending), TC422 (run, node).
-- Hot path: every statement and every function in plpgsql costs 10 µs or more (benchmarks/decisions/one_call). So the
-- lock is taken here, one query tells the run and whether a stream is open (as is_watched() does), and the UPDATE locks
-- the row, queries its status, after a wait for the new one, and makes the answer. More is queried only if it moved
-- nothing.
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
    v_workflow_id bigint;
    v_run_id bigint;
    v_is_watched boolean;
    v_name text;
    v_has_relations boolean;
    v_answer json;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.job WHERE id = p_job_id;
    IF v_workflow_id IS NULL OR p_caller.enforced OR NOT torc.shares_at_once(v_workflow_id) THEN
        PERFORM torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    END IF;
    SELECT
        run_id,
        EXISTS (SELECT 1 FROM torc.event_stream WHERE workflow_id = v_workflow_id AND expires_at > clock_timestamp())
    INTO v_run_id, v_is_watched
    FROM torc.workflow_status
    WHERE workflow_id = v_workflow_id;
    IF v_run_id <> p_run_id THEN
        PERFORM torc.check_run_id(v_workflow_id, p_run_id);
    END IF;
    UPDATE torc.job AS job
    SET status = 'running', active_compute_node_id = p_compute_node_id, start_time = clock_timestamp()
    WHERE id = p_job_id AND status = 'pending'
    RETURNING name, has_dependencies OR has_links, torc.job_json(job) INTO v_name, v_has_relations, v_answer;
    IF NOT FOUND THEN
        RETURN torc.start_job_again(p_job_id, p_run_id, p_compute_node_id, p_caller);
    END IF;
    IF p_caller.enforced THEN
        PERFORM torc.authorize_node_reference(v_workflow_id, p_compute_node_id, p_caller);
    END IF;
    IF v_is_watched THEN
        PERFORM torc.publish_event(v_workflow_id, 'job_started', 'info', jsonb_build_object(
            'job_id', p_job_id, 'job_name', v_name, 'compute_node_id', p_compute_node_id, 'run_id', p_run_id
        ));
    END IF;
    IF v_has_relations THEN
        RETURN torc.job_with_relations_json(p_job_id);
    END IF;
    RETURN v_answer;
END
$$;

-- The job was not pending: answers if it runs on that node already. Raises TC404, TC403, TC409.
CREATE OR REPLACE FUNCTION torc.start_job_again(
    p_job_id bigint,
    p_run_id bigint,
    p_compute_node_id bigint,
    p_caller torc.caller
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
BEGIN
    IF v_job.status = 'pending' THEN  -- since a moment ago; now that we hold its row, it stays so
        RETURN torc.start_job(p_job_id, p_run_id, p_compute_node_id, p_caller);
    END IF;
    IF v_job.status = 'running' AND v_job.active_compute_node_id = p_compute_node_id THEN
        RETURN torc.job_with_relations_json(v_job);
    END IF;
    PERFORM torc.fail('TC409', format(
        'Job %s has status %s. Only a pending job can be started: claim it first', p_job_id, v_job.status
    ));
END
$$;
