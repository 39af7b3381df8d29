-- start_job() and complete_job() with a statement for each step, and job_json() with numbers made into text by ||.
CREATE OR REPLACE FUNCTION torc.job_json(
    j torc.job,
    p_depends_on_job_ids bigint[] DEFAULT NULL,
    p_input_file_ids bigint[] DEFAULT NULL,
    p_output_file_ids bigint[] DEFAULT NULL,
    p_input_user_data_ids bigint[] DEFAULT NULL,
    p_output_user_data_ids bigint[] DEFAULT NULL
)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT concat(
        '{"id":', j.id,
        ',"workflow_id":', j.workflow_id,
        ',"name":', to_json(j.name),
        ',"command":', to_json(j.command),
        ',"invocation_script":' || to_json(j.invocation_script)::text,
        ',"status":"', j.status,
        '","cancel_on_blocking_job_failure":' || j.cancel_on_blocking_job_failure,
        ',"supports_termination":' || j.supports_termination,
        ',"depends_on_job_ids":' || to_json(nullif(p_depends_on_job_ids, '{}'))::text,
        ',"input_file_ids":' || to_json(nullif(p_input_file_ids, '{}'))::text,
        ',"output_file_ids":' || to_json(nullif(p_output_file_ids, '{}'))::text,
        ',"input_user_data_ids":' || to_json(nullif(p_input_user_data_ids, '{}'))::text,
        ',"output_user_data_ids":' || to_json(nullif(p_output_user_data_ids, '{}'))::text,
        ',"resource_requirements_id":' || j.resource_requirements_id,
        ',"scheduler_id":' || j.scheduler_id,
        ',"failure_handler_id":' || j.failure_handler_id,
        ',"attempt_id":' || j.attempt_id,
        ',"priority":' || j.priority,
        ',"env":' || j.env::text,
        ',"labels":' || torc.labels_json(j.labels),
        ',"origin":"' || j.origin || '"',
        CASE WHEN j.active_compute_node_id IS NOT NULL THEN concat(
            ',"compute_node_id":', j.active_compute_node_id,
            ',"start_time":"' || torc.time_json(j.start_time) || '"'
        ) END,
        '}'
    )::json
$$;

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
    IF v_workflow_id IS NULL OR p_caller.enforced OR NOT torc.try_lock_workflow_shared(v_workflow_id) THEN
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
        RETURN torc.start_job_otherwise(p_job_id, p_run_id, p_compute_node_id, p_caller);
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
    v_result torc.result := jsonb_populate_record(NULL::torc.result, p_result);
    v_workflow_id bigint;
    v_old_status torc.job_status;
    v_attempt_id bigint;
    v_attempt_run_id bigint;
    v_downstream torc.status_change[] := '{}';
    v_run_id bigint;
    v_is_watched boolean;
    v_has_actions boolean;
    v_has_dependents boolean;
    v_has_result boolean;
    v_has_relations boolean;
    v_answer json;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.job WHERE id = p_job_id;
    IF v_workflow_id IS NULL OR p_caller.enforced OR NOT torc.try_lock_workflow_shared(v_workflow_id) THEN
        PERFORM torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    END IF;
    SELECT status, attempt_id, attempt_run_id
    INTO v_old_status, v_attempt_id, v_attempt_run_id
    FROM torc.job
    WHERE id = p_job_id
    FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM torc.lock_job(p_job_id, p_caller);  -- says what is missing
    END IF;
    SELECT
        run_id,
        EXISTS (
            SELECT 1
            FROM torc.event_stream
            WHERE workflow_id IN (v_workflow_id, ~v_workflow_id)  -- streams and waiting claims
                AND expires_at > clock_timestamp()
        ),
        EXISTS (SELECT 1 FROM torc.workflow_action WHERE workflow_id = v_workflow_id),
        EXISTS (SELECT 1 FROM torc.job_depends_on WHERE depends_on_job_id = p_job_id),
        EXISTS (SELECT 1 FROM torc.result WHERE job_id = p_job_id AND is_current)
    INTO v_run_id, v_is_watched, v_has_actions, v_has_dependents, v_has_result
    FROM torc.workflow_status
    WHERE workflow_id = v_workflow_id;
    v_result.attempt_id := coalesce(v_result.attempt_id, v_attempt_id);
    IF NOT (torc.is_complete(p_status) OR p_status = 'pending_failed')
        OR v_result.job_id <> p_job_id
        OR v_result.workflow_id <> v_workflow_id
        OR v_result.status <> p_status
        OR p_run_id <> v_run_id
        OR v_result.run_id <> v_run_id
    THEN
        PERFORM torc.refuse_completion(torc.lock_job(p_job_id, p_caller), p_status, p_run_id, v_result);
    END IF;
    IF p_caller.enforced THEN
        PERFORM torc.authorize_node_reference(v_workflow_id, v_result.compute_node_id, p_caller);
    END IF;
    IF v_old_status NOT IN ('pending', 'running')
        OR v_result.attempt_id <> v_attempt_id
        OR v_has_result
        OR v_attempt_run_id IS NOT NULL
    THEN
        v_result.attempt_id := torc.reported_attempt(torc.lock_job(p_job_id, p_caller), v_result);
        IF v_result.attempt_id IS NULL THEN
            RETURN torc.job_with_relations_json(p_job_id);
        END IF;
    END IF;
    PERFORM torc.store_result_before(v_result, v_has_result);
    UPDATE torc.job AS job
    SET status = p_status, active_compute_node_id = NULL, canceled_by_dependency = false
    WHERE id = p_job_id
    RETURNING has_dependencies OR has_links, torc.job_json(job) INTO v_has_relations, v_answer;
    IF v_is_watched THEN
        PERFORM torc.publish_completion(torc.lock_job(p_job_id, p_caller), v_result);
    END IF;
    IF v_has_dependents THEN
        v_downstream := torc.move_dependents(ARRAY[(p_job_id, v_old_status, p_status)::torc.status_change]);
    END IF;
    IF v_has_actions THEN
        PERFORM torc.trigger_job_actions(
            v_workflow_id, (p_job_id, v_old_status, p_status)::torc.status_change || v_downstream
        );
        PERFORM torc.trigger_workflow_complete(v_workflow_id);
    END IF;
    IF v_is_watched AND v_downstream <> '{}' THEN
        PERFORM torc.publish_changes(v_workflow_id, v_downstream);
    END IF;
    IF v_has_relations THEN
        RETURN torc.job_with_relations_json(p_job_id);
    END IF;
    RETURN v_answer;
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
