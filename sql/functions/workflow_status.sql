-- The run state of a workflow as it goes on the wire. Its id is the workflow's.
CREATE OR REPLACE FUNCTION torc.workflow_status_json(p_workflow_id bigint)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object(
        'id', workflow_id,
        'run_id', run_id,
        'is_canceled', is_canceled,
        'is_archived', is_archived,
        'has_detected_need_to_run_completion_script', has_detected_need_to_run_completion_script
    )
    FROM torc.workflow_status
    WHERE workflow_id = p_workflow_id
$$;

-- Overwrites all four. Of jobs, only the attempts of those are touched that wait to run: in another run they are at
-- attempt 1 again. Locks: workflow exclusive (the run must not change under a transition that
-- has checked it). Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.update_workflow_status(
    p_workflow_id bigint,
    p_run_id bigint,
    p_is_canceled boolean,
    p_is_archived boolean DEFAULT false,
    p_has_detected_need_to_run_completion_script boolean DEFAULT false,
    p_caller torc.caller DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    UPDATE torc.workflow_status
    SET
        run_id = p_run_id,
        is_canceled = p_is_canceled,
        is_archived = p_is_archived,
        has_detected_need_to_run_completion_script = p_has_detected_need_to_run_completion_script
    WHERE workflow_id = p_workflow_id;
    PERFORM torc.restart_attempts(p_workflow_id);
    PERFORM torc.audit(
        p_caller, 'update_workflow_status',
        format(
            'SELECT torc.update_workflow_status(%s, %s, %s, %s, %s)', p_workflow_id, p_run_id, p_is_canceled, p_is_archived,
            p_has_detected_need_to_run_completion_script
        ),
        p_workflow_id, NULL,
        jsonb_build_object('run_id', p_run_id, 'is_canceled', p_is_canceled, 'is_archived', p_is_archived)
    );
END
$$;

-- Clears the three flags, keeps the run, and stores an event. Locks: workflow exclusive. Raises TC404, TC403, TC422
-- (archived; jobs pending or running, nodes pending or active, unless p_force).
CREATE OR REPLACE FUNCTION torc.reset_workflow_status(
    p_workflow_id bigint,
    p_force boolean DEFAULT false,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    IF (SELECT is_archived FROM torc.workflow_status WHERE workflow_id = p_workflow_id) THEN
        PERFORM torc.fail('TC422', 'Cannot reset archived workflow status. Unarchive the workflow first.');
    END IF;
    IF NOT p_force AND torc.has_jobs_between(p_workflow_id, 'pending', 'running') THEN
        PERFORM torc.fail(
            'TC422', 'Cannot reset workflow status: jobs are currently running or pending submission'
        );
    END IF;
    IF NOT p_force AND EXISTS (
        SELECT 1
        FROM torc.scheduled_compute_node
        WHERE workflow_id = p_workflow_id AND status IN ('pending', 'active')
    ) THEN
        PERFORM torc.fail(
            'TC422', 'Cannot reset workflow status: scheduled compute nodes are currently pending or active'
        );
    END IF;
    UPDATE torc.workflow_status
    SET is_canceled = false, is_archived = false, has_detected_need_to_run_completion_script = false
    WHERE workflow_id = p_workflow_id;
    PERFORM torc.store_user_action(p_workflow_id, p_caller, 'reset_workflow_status', jsonb_build_object(
        'workflow_id', p_workflow_id, 'force', p_force
    ));
    PERFORM torc.audit(
        p_caller, 'reset_workflow_status', format('SELECT torc.reset_workflow_status(%s, %s)', p_workflow_id, p_force),
        p_workflow_id, NULL, jsonb_build_object('force', p_force)
    );
    RETURN torc.workflow_status_json(p_workflow_id);
END
$$;

-- Complete: canceled, or no job outside completed, failed, canceled, terminated, disabled.
CREATE OR REPLACE FUNCTION torc.is_finished(p_workflow_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
        OR NOT torc.has_jobs_between(p_workflow_id, 'uninitialized', 'running')
        AND NOT torc.has_jobs_between(p_workflow_id, 'pending_failed', 'pending_failed');
END
$$;

-- Whether a workflow has jobs of the statuses from one to the other, as job_status declares them. The order is that of
-- job_workflow_id_status_idx, which finds the first one: another index of the workflow may have to read all of its jobs.
CREATE OR REPLACE FUNCTION torc.has_jobs_between(p_workflow_id bigint, p_first torc.job_status, p_last torc.job_status)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT true
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND status BETWEEN p_first AND p_last
        ORDER BY status, id
        LIMIT 1
    ) IS NOT NULL;
END
$$;

-- is_workflow_complete. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.is_workflow_complete(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        SELECT json_build_object(
            'is_canceled', is_canceled,
            'is_complete', torc.is_finished(p_workflow_id),
            'needs_to_run_completion_script', has_detected_need_to_run_completion_script
        )
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id
    );
END
$$;
