-- Moves a pending job to running and records when, and on which compute node. Sent again for the same node, it answers
-- as before. Locks: workflow shared, the job's row. Raises TC404, TC403, TC409 (not pending), TC422 (run, node).
-- Hot path: a call in plpgsql costs 8 µs, a statement 4, and each table that it reads 4
-- (benchmarks/decisions/one_call, hot_statements). So the lock is taken here, and the UPDATE locks the row, queries its
-- status (after a wait: the new one), the run, the node and whether a stream is open (as is_watched() does), and makes
-- the answer. start_job_otherwise() finds out why it moved nothing.
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
    v_is_locked boolean;
    v_is_watched boolean;
    v_name text;
    v_has_dependencies boolean;
    v_has_links boolean;
    v_answer json;
BEGIN
    SELECT workflow_id, torc.try_lock_workflow_shared(workflow_id)
    INTO v_workflow_id, v_is_locked
    FROM torc.job
    WHERE id = p_job_id;
    IF v_is_locked IS NOT TRUE OR p_caller.enforced THEN
        PERFORM torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    END IF;
    UPDATE torc.job AS job
    SET status = 'running', active_compute_node_id = p_compute_node_id, start_time = torc.now()
    WHERE id = p_job_id
        AND status = 'pending'
        AND p_run_id = (SELECT run_id FROM torc.workflow_status WHERE workflow_id = v_workflow_id)
        AND v_workflow_id = (SELECT workflow_id FROM torc.compute_node WHERE id = p_compute_node_id)
    RETURNING
        name,
        has_dependencies,
        has_links,
        torc.job_json(job),
        (
            SELECT true
            FROM torc.event_stream
            WHERE workflow_id = v_workflow_id AND expires_at > torc.now()
            ORDER BY workflow_id, expires_at  -- of the index: a bitmap costs 5 µs more
            LIMIT 1
        )
    INTO v_name, v_has_dependencies, v_has_links, v_answer, v_is_watched;
    IF NOT FOUND THEN
        RETURN torc.start_job_otherwise(p_job_id, p_run_id, p_compute_node_id, p_caller);
    END IF;
    IF v_is_watched THEN
        PERFORM torc.publish_start(v_workflow_id, p_job_id, v_name, p_compute_node_id, p_run_id);
    END IF;
    IF v_has_links THEN
        RETURN torc.job_with_relations_json(p_job_id);
    END IF;
    IF v_has_dependencies THEN
        RETURN torc.add_dependencies(
            v_answer, ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = p_job_id ORDER BY 1)
        );
    END IF;
    RETURN v_answer;
END
$$;

-- The job was not pending, or the run or the node is not one of its workflow: starts it if the node is one of another
-- workflow, and answers if it runs on that node already. Raises TC404, TC403, TC409, TC422.
CREATE OR REPLACE FUNCTION torc.start_job_otherwise(
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
    PERFORM torc.check_run_id(v_job.workflow_id, p_run_id);
    IF v_job.status = 'running' AND v_job.active_compute_node_id = p_compute_node_id THEN
        RETURN torc.job_with_relations_json(v_job);
    END IF;
    IF v_job.status <> 'pending' THEN
        PERFORM torc.fail('TC409', format(
            'Job %s has status %s. Only a pending job can be started: claim it first', p_job_id, v_job.status
        ));
    END IF;
    PERFORM torc.authorize_node_reference(v_job.workflow_id, p_compute_node_id, p_caller);
    PERFORM torc.keep_references(v_job.workflow_id, 'compute_node_id', ARRAY[p_compute_node_id]);
    UPDATE torc.job
    SET status = 'running', active_compute_node_id = p_compute_node_id, start_time = torc.now()
    WHERE id = p_job_id;
    PERFORM torc.publish_start(v_job.workflow_id, p_job_id, v_job.name, p_compute_node_id, p_run_id);
    RETURN torc.job_with_relations_json(p_job_id);
END
$$;

-- Notifies open streams that a job has started.
CREATE OR REPLACE FUNCTION torc.publish_start(
    p_workflow_id bigint,
    p_job_id bigint,
    p_name text,
    p_compute_node_id bigint,
    p_run_id bigint
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.publish_event(p_workflow_id, 'job_started', 'info', jsonb_build_object(
        'job_id', p_job_id, 'job_name', p_name, 'compute_node_id', p_compute_node_id, 'run_id', p_run_id
    ));
END
$$;
