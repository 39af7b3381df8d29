-- start_job() and complete_job() as they were made of functions and rows of the whole table.
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
    v_workflow_id bigint := torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    v_run_id bigint;
    v_is_watched boolean;
    v_job torc.job;
BEGIN
    SELECT
        run_id,
        EXISTS (SELECT 1 FROM torc.event_stream WHERE workflow_id = v_workflow_id AND expires_at > clock_timestamp())
    INTO v_run_id, v_is_watched
    FROM torc.workflow_status
    WHERE workflow_id = v_workflow_id;
    IF v_run_id <> p_run_id THEN
        PERFORM torc.check_run_id(v_workflow_id, p_run_id);
    END IF;
    UPDATE torc.job
    SET status = 'running', active_compute_node_id = p_compute_node_id, start_time = clock_timestamp()
    WHERE id = p_job_id AND status = 'pending'
    RETURNING * INTO v_job;
    IF NOT FOUND THEN
        RETURN torc.start_job_otherwise(p_job_id, p_run_id, p_compute_node_id, p_caller);
    END IF;
    IF p_caller.enforced THEN
        PERFORM torc.authorize_node_reference(v_workflow_id, p_compute_node_id, p_caller);
    END IF;
    IF v_is_watched THEN
        PERFORM torc.publish_event(v_workflow_id, 'job_started', 'info', jsonb_build_object(
            'job_id', p_job_id, 'job_name', v_job.name, 'compute_node_id', p_compute_node_id, 'run_id', p_run_id
        ));
    END IF;
    RETURN torc.job_with_relations_json(v_job);
END
$$;

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
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
    v_result torc.result := jsonb_populate_record(NULL::torc.result, p_result);
    v_change torc.status_change := (p_job_id, v_job.status, p_status);
    v_downstream torc.status_change[] := '{}';
    v_run_id bigint;
    v_is_watched boolean;
    v_has_actions boolean;
    v_has_dependents boolean;
    v_has_result boolean;
BEGIN
    SELECT
        run_id,
        EXISTS (
            SELECT 1
            FROM torc.event_stream
            WHERE workflow_id IN (v_job.workflow_id, ~v_job.workflow_id)  -- streams and waiting claims
                AND expires_at > clock_timestamp()
        ),
        EXISTS (SELECT 1 FROM torc.workflow_action WHERE workflow_id = v_job.workflow_id),
        EXISTS (SELECT 1 FROM torc.job_depends_on WHERE depends_on_job_id = p_job_id),
        EXISTS (SELECT 1 FROM torc.result WHERE job_id = p_job_id AND is_current)
    INTO v_run_id, v_is_watched, v_has_actions, v_has_dependents, v_has_result
    FROM torc.workflow_status
    WHERE workflow_id = v_job.workflow_id;
    v_result.attempt_id := coalesce(v_result.attempt_id, v_job.attempt_id);
    IF NOT (torc.is_complete(p_status) OR p_status = 'pending_failed')
        OR v_result.job_id <> p_job_id
        OR v_result.workflow_id <> v_job.workflow_id
        OR v_result.status <> p_status
        OR p_run_id <> v_run_id
        OR v_result.run_id <> v_run_id
    THEN
        PERFORM torc.refuse_completion(v_job, p_status, p_run_id, v_result);
    END IF;
    IF p_caller.enforced THEN
        PERFORM torc.authorize_node_reference(v_job.workflow_id, v_result.compute_node_id, p_caller);
    END IF;
    IF v_job.status NOT IN ('pending', 'running')
        OR v_result.attempt_id <> v_job.attempt_id
        OR v_has_result
        OR v_job.attempt_run_id IS NOT NULL
    THEN
        v_result.attempt_id := torc.reported_attempt(v_job, v_result);
        IF v_result.attempt_id IS NULL THEN
            RETURN torc.job_with_relations_json(v_job);
        END IF;
    END IF;
    v_result.id := torc.store_result_before(v_result, v_has_result);
    UPDATE torc.job
    SET status = p_status, active_compute_node_id = NULL, canceled_by_dependency = false
    WHERE id = p_job_id
    RETURNING * INTO v_job;
    IF v_is_watched THEN
        PERFORM torc.publish_completion(v_job, v_result);
    END IF;
    IF v_has_dependents THEN
        v_downstream := torc.move_dependents(ARRAY[v_change]);
    END IF;
    IF v_has_actions THEN
        PERFORM torc.trigger_job_actions(v_job.workflow_id, v_change || v_downstream);
        PERFORM torc.trigger_workflow_complete(v_job.workflow_id);
    END IF;
    IF v_is_watched AND v_downstream <> '{}' THEN
        PERFORM torc.publish_changes(v_job.workflow_id, v_downstream);
    END IF;
    RETURN torc.job_with_relations_json(v_job);
END
$$;

CREATE OR REPLACE FUNCTION torc.store_result_before(
    p_result torc.result,
    p_may_replace boolean DEFAULT true,
    p_is_current boolean DEFAULT true
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint;
BEGIN
    IF p_may_replace THEN
        UPDATE torc.result SET is_current = false WHERE job_id = p_result.job_id AND is_current;
    END IF;
    INSERT INTO torc.result (
        job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
        compute_node_id, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent,
        exit_code, stdout, stderr, is_current
    )
    VALUES (
        p_result.job_id, p_result.workflow_id, p_result.run_id, p_result.attempt_id, p_result.return_code,
        p_result.exec_time_minutes, p_result.completion_time, p_result.status, p_result.compute_node_id,
        p_result.peak_memory_bytes, p_result.avg_memory_bytes, p_result.peak_cpu_percent, p_result.avg_cpu_percent,
        p_result.exit_code, p_result.stdout, p_result.stderr, p_is_current
    )
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;
