-- Cancels a workflow: claims get no job any more, pending and running jobs become canceled and their dependents are
-- settled, nodes are no longer active, an event is stored. May be repeated.
-- Locks: workflow exclusive, jobs by id. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.cancel_workflow(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_changes torc.status_change[];
    v_run_id bigint;
    v_user text := coalesce(p_caller.name, current_user);
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    UPDATE torc.workflow_status
    SET is_canceled = true
    WHERE workflow_id = p_workflow_id
    RETURNING run_id INTO v_run_id;

    WITH active AS (
        SELECT id, status FROM torc.job WHERE workflow_id = p_workflow_id AND torc.is_active(status)
    ),

    moved AS (
        UPDATE torc.job
        SET status = 'canceled'
        FROM active
        WHERE job.id = active.id AND job.id = ANY (ARRAY(SELECT id FROM active))
        RETURNING (job.id, active.status, job.status)::torc.status_change AS change
    )

    SELECT array_agg(change) INTO v_changes FROM moved;
    PERFORM torc.publish_event(p_workflow_id, 'workflow_canceled', 'warning', jsonb_build_object(
        'category', 'workflow', 'run_id', v_run_id, 'user', v_user
    ));
    PERFORM torc.publish_changes(p_workflow_id, v_changes);
    PERFORM torc.settle_dependents(v_changes);
    UPDATE torc.compute_node SET is_active = false WHERE workflow_id = p_workflow_id AND is_active;
    INSERT INTO torc.event (workflow_id, "timestamp", data)
    VALUES (p_workflow_id, torc.now_ms(), jsonb_build_object(
        'category', 'workflow_canceled',
        'message', format('Workflow %s (run_id=%s) was canceled', p_workflow_id, v_run_id),
        'workflow_id', p_workflow_id,
        'run_id', v_run_id,
        'user', v_user
    ));
    PERFORM torc.audit(
        p_caller, 'cancel_workflow', format('SELECT torc.cancel_workflow(%s)', p_workflow_id), p_workflow_id, NULL,
        jsonb_build_object('run_id', v_run_id), coalesce(cardinality(v_changes), 0)
    );
    RETURN torc.workflow_and_status_json(p_workflow_id, p_caller);
END
$$;
