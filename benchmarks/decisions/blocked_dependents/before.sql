-- Dependents of the job are locked and counted by one statement, and moved by another, as all others are.
CREATE OR REPLACE FUNCTION torc.complete_job(
    p_job_id bigint,
    p_status torc.job_status,
    p_run_id bigint,
    p_result jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := p_result ->> 'workflow_id';  -- if it is not the job's, the UPDATE finds nothing
    v_attempt_id bigint;
    v_downstream torc.status_change[] := '{}';
    v_is_watched boolean;
    v_has_actions boolean;
    v_has_dependents boolean;
    v_has_dependencies boolean;
    v_has_links boolean;
    v_answer json;
BEGIN
    IF p_caller.enforced OR torc.try_lock_workflow_shared(v_workflow_id) IS NOT TRUE THEN
        PERFORM torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    END IF;
    UPDATE torc.job AS job
    SET status = p_status, active_compute_node_id = NULL
    WHERE id = p_job_id
        AND workflow_id IS NOT DISTINCT FROM v_workflow_id  -- not "=", which another index could serve
        AND torc.is_active(status)
        AND attempt_run_id IS NULL
        AND attempt_id = coalesce((p_result ->> 'attempt_id')::bigint, attempt_id)
        AND torc.is_terminal(p_status)
        AND (p_result ->> 'job_id')::bigint = p_job_id
        AND (p_result ->> 'run_id')::bigint = p_run_id
        AND (p_result ->> 'status')::torc.job_status = p_status
        AND p_run_id = (SELECT run_id FROM torc.workflow_status WHERE workflow_id = v_workflow_id)
        AND v_workflow_id = (
            SELECT workflow_id FROM torc.compute_node WHERE id = (p_result ->> 'compute_node_id')::bigint
        )
        -- One of this run that is not current: the workflow has gone back to an earlier run.
        AND NOT EXISTS (SELECT 1 FROM torc.result WHERE job_id = p_job_id AND (is_current OR run_id = p_run_id))
    RETURNING
        attempt_id,
        has_dependencies,
        has_links,
        torc.job_json(job),
        (
            SELECT true
            FROM torc.event_stream
            WHERE workflow_id IN (v_workflow_id, ~v_workflow_id)  -- streams and waiting claims
                AND expires_at > torc.now()
            ORDER BY workflow_id, expires_at  -- of the index: a bitmap costs 5 µs more
            LIMIT 1
        ),
        EXISTS (SELECT 1 FROM torc.workflow_action WHERE workflow_id = v_workflow_id),
        EXISTS (SELECT 1 FROM torc.job_depends_on WHERE depends_on_job_id = p_job_id)
    INTO v_attempt_id, v_has_dependencies, v_has_links, v_answer, v_is_watched, v_has_actions, v_has_dependents;
    IF NOT FOUND THEN
        RETURN torc.judge_completion(p_job_id, p_status, p_run_id, p_result, p_caller);
    END IF;
    INSERT INTO torc.result (
        job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
        compute_node_id, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent,
        exit_code, stdout, stderr, is_current
    )
    VALUES (  -- jsonb_populate_record() takes 5 µs more
        p_job_id, v_workflow_id, p_run_id, v_attempt_id, (p_result ->> 'return_code')::bigint,
        (p_result ->> 'exec_time_minutes')::double precision, p_result ->> 'completion_time', p_status,
        (p_result ->> 'compute_node_id')::bigint, (p_result ->> 'peak_memory_bytes')::bigint,
        (p_result ->> 'avg_memory_bytes')::bigint, (p_result ->> 'peak_cpu_percent')::double precision,
        (p_result ->> 'avg_cpu_percent')::double precision, (p_result ->> 'exit_code')::bigint,
        p_result ->> 'stdout', p_result ->> 'stderr', true
    );
    IF v_is_watched THEN
        PERFORM torc.publish_completion(
            torc.lock_job(p_job_id, p_caller), jsonb_populate_record(NULL::torc.result, p_result)
        );
    END IF;
    -- A job that was pending counts as a running one.
    IF v_has_dependents THEN
        v_downstream := torc.move_dependents(ARRAY[(p_job_id, 'running', p_status)::torc.status_change]);
    END IF;
    IF v_has_actions THEN
        PERFORM torc.trigger_job_actions(
            v_workflow_id, (p_job_id, 'running', p_status)::torc.status_change || v_downstream
        );
        PERFORM torc.trigger_workflow_complete(v_workflow_id);
    END IF;
    IF v_is_watched AND v_downstream <> '{}' THEN
        PERFORM torc.publish_changes(v_workflow_id, v_downstream);
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

-- Not inlined, because its cast converts text.
CREATE OR REPLACE FUNCTION torc.settled_status(
    p_status torc.job_status,
    p_open_dependencies bigint,
    p_failed_dependencies bigint,
    p_cancel_on_blocking_job_failure boolean,
    p_canceled_by_dependency boolean
)
RETURNS torc.job_status
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_status = 'blocked' AND p_open_dependencies = 0
            THEN CASE
                WHEN p_cancel_on_blocking_job_failure AND p_failed_dependencies > 0 THEN 'canceled'
                ELSE 'ready'
            END::torc.job_status
        WHEN p_canceled_by_dependency AND p_open_dependencies > 0 THEN 'blocked'
        WHEN p_canceled_by_dependency AND p_failed_dependencies = 0 THEN 'ready'
        ELSE p_status
    END
$$;
