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

-- Overwrites the run state. Of the jobs, only the attempts of waiting ones change: in another run they are at attempt 1
-- again. Locks: workflow exclusive (the run must not change under a transition that has checked it). Raises TC404,
-- TC403.
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
            'SELECT torc.update_workflow_status(%s, %s, %s, %s, %s)',
            p_workflow_id, p_run_id, p_is_canceled, p_is_archived,
            p_has_detected_need_to_run_completion_script
        ),
        p_workflow_id, NULL,
        jsonb_build_object('run_id', p_run_id, 'is_canceled', p_is_canceled, 'is_archived', p_is_archived)
    );
END
$$;

-- Clears the three flags, begins the next run, and stores an event; returns the workflow. Jobs keep their status; in
-- the new run, those that wait to run are at attempt 1. Who raises the run id depends on the client: see
-- raise_run_id(). Locks: workflow exclusive. Raises TC404, TC403, TC422 (archived; jobs pending or running, nodes
-- pending or active, unless p_force).
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
    IF NOT p_force AND torc.has_active_jobs(p_workflow_id) THEN
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
    SET is_canceled = false, is_archived = false, has_detected_need_to_run_completion_script = false, is_reset = true
    WHERE workflow_id = p_workflow_id;
    IF coalesce(p_caller.dialect NOT IN ('text', 'text_initialize'), true) THEN
        PERFORM torc.raise_run_id(p_workflow_id);
        PERFORM torc.restart_attempts(p_workflow_id);
    END IF;
    PERFORM torc.store_user_action(p_workflow_id, p_caller, 'reset_workflow_status', jsonb_build_object(
        'workflow_id', p_workflow_id, 'force', p_force
    ));
    PERFORM torc.audit(
        p_caller, 'reset_workflow_status', format('SELECT torc.reset_workflow_status(%s, %s)', p_workflow_id, p_force),
        p_workflow_id, NULL, jsonb_build_object('force', p_force)
    );
    RETURN torc.workflow_and_status_json(p_workflow_id, p_caller);
END
$$;

-- The next run of a workflow that was reset. Today's clients leave it to reset_status; the first ones write the new run
-- id to the run state themselves, before or after reset_status; those between them cannot be told from the first ones
-- (dialect text_initialize). For these, initialize_jobs raises the run id, unless it has changed since the last
-- initialize_jobs. The caller holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.raise_run_id(p_workflow_id bigint)
RETURNS void
LANGUAGE sql
AS $$
    UPDATE torc.workflow_status SET run_id = run_id + 1, is_reset = false WHERE workflow_id = p_workflow_id
$$;

-- Begins the next run if the first clients have reset the workflow and have not done it, see raise_run_id(). The caller
-- holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.raise_run_id_if_due(p_workflow_id bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_caller.dialect = 'text_initialize' AND EXISTS (
        SELECT 1
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id AND is_reset AND run_id = initialized_run_id
    ) THEN
        PERFORM torc.raise_run_id(p_workflow_id);
    END IF;
    UPDATE torc.workflow_status
    SET is_reset = false, initialized_run_id = run_id
    WHERE workflow_id = p_workflow_id AND (is_reset OR initialized_run_id <> run_id);
END
$$;

-- The answer of cancel_workflow and reset_workflow_status: the workflow, and the key of the run state that it lacks.
CREATE OR REPLACE FUNCTION torc.workflow_and_status_json(p_workflow_id bigint, p_caller torc.caller)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT regexp_replace(
            torc.workflow_json(workflow, p_caller)::text,
            '^\{',
            format(
                '{"has_detected_need_to_run_completion_script":%s,',
                to_json(status.has_detected_need_to_run_completion_script)
            )
        )::json
        FROM torc.workflow AS workflow
        CROSS JOIN LATERAL (SELECT * FROM torc.workflow_status WHERE workflow_id = workflow.id) AS status
        WHERE workflow.id = p_workflow_id
    );
END
$$;

-- Whether a workflow is complete: canceled, or no job is open (is_open).
CREATE OR REPLACE FUNCTION torc.is_finished(p_workflow_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
        OR NOT torc.has_open_jobs(p_workflow_id);
END
$$;

-- is_workflow_complete: whether a client need not wait any more. Raises TC404, TC403. Without access control the row
-- says that there is such a workflow, which spares its reader a query.
CREATE OR REPLACE FUNCTION torc.is_workflow_complete(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_answer json;
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    SELECT concat(  -- as is_finished(), which would read the row once more
        '{"is_canceled":' || is_canceled,
        ',"is_complete":' || (is_canceled OR NOT torc.has_open_jobs(p_workflow_id)),
        ',"needs_to_run_completion_script":' || has_detected_need_to_run_completion_script,
        '}'
    )
    INTO v_answer
    FROM torc.workflow_status
    WHERE workflow_id = p_workflow_id;
    IF NOT FOUND THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    RETURN v_answer;
END
$$;
