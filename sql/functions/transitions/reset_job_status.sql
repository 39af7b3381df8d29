-- Makes jobs uninitialized again and stores an event. By default all jobs of the workflow; p_failed_only: the failed,
-- canceled, terminated and pending_failed ones, with everything downstream of the first three. updated_count counts
-- the former, not what lies downstream. Disabled jobs stay disabled; results, run and attempts stay.
-- Locks: workflow exclusive. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.reset_job_status(
    p_workflow_id bigint,
    p_failed_only boolean DEFAULT false,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_statuses torc.job_status[] := ARRAY(
        SELECT status
        FROM unnest(enum_range(NULL::torc.job_status)) AS status
        WHERE CASE WHEN p_failed_only THEN torc.is_unsuccessful(status) ELSE torc.is_initialized(status) END
    );
    v_count bigint;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    SELECT count(*) INTO v_count FROM torc.job WHERE workflow_id = p_workflow_id AND status = ANY (v_statuses);
    UPDATE torc.job
    SET active_compute_node_id = NULL
    WHERE workflow_id = p_workflow_id AND active_compute_node_id IS NOT NULL
        AND (NOT p_failed_only OR status = ANY (v_statuses));
    IF p_failed_only THEN
        PERFORM torc.uninitialize_downstream(
            p_workflow_id, ARRAY(SELECT status FROM unnest(v_statuses) AS status WHERE torc.is_failed(status))
        );
    END IF;
    UPDATE torc.job
    SET status = 'uninitialized', canceled_by_dependency = false
    WHERE workflow_id = p_workflow_id AND status = ANY (v_statuses);
    PERFORM torc.recount_dependencies(p_workflow_id);
    PERFORM torc.publish_event(p_workflow_id, 'job_uninitialized', 'info', jsonb_build_object(
        'status', 'uninitialized', 'count', v_count, 'failed_only', p_failed_only
    ));
    PERFORM torc.store_user_action(p_workflow_id, p_caller, 'reset_job_status', jsonb_build_object(
        'workflow_id', p_workflow_id, 'failed_only', p_failed_only, 'updated_count', v_count
    ));
    PERFORM torc.audit(
        p_caller, 'reset_job_status',
        format('SELECT torc.reset_job_status(%s, %s)', p_workflow_id, p_failed_only), p_workflow_id,
        NULL, jsonb_build_object('failed_only', p_failed_only), v_count
    );
    RETURN json_strip_nulls(json_build_object(
        'workflow_id', p_workflow_id,
        'updated_count', v_count,
        'status', 'uninitialized',
        'reset_type', CASE WHEN p_failed_only THEN 'failed_only' END
    ));
END
$$;
