-- Tasks: work on a whole workflow that is done after the answer. A task is queued, then running, then succeeded or
-- failed; it is done in one transaction, together with that last change, so that it is done once and entirely, or not
-- at all and by another process. A process that works on a task holds an advisory lock (of two integers, which never
-- equals a workflow's lock) in that transaction; the lock ends with the process.

-- Unfinished: queued or running. Inlined, so that the index of unfinished tasks serves it.
CREATE OR REPLACE FUNCTION torc.is_unfinished(p_status text)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('queued', 'running') $$;

-- A task as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.task_json(t torc.task)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', t.id,
        'workflow_id', t.workflow_id,
        'operation', t.operation,
        'status', t.status,
        'created_at_ms', (extract(epoch FROM t.created_at) * 1000)::bigint,
        'started_at_ms', (extract(epoch FROM t.started_at) * 1000)::bigint,
        'finished_at_ms', (extract(epoch FROM t.finished_at) * 1000)::bigint,
        'error', t.error
    ))
$$;

-- Queues initialize_jobs for a workflow, unless the same is active already. p_parameters: those that were given, by
-- name. Answers {task, is_small}: whether doing it takes so little time that the answer may wait for it.
-- Locks nothing: an active task may hold the workflow's lock. Raises TC404, TC403, TC409 (other parameters).
CREATE OR REPLACE FUNCTION torc.start_initialization(
    p_workflow_id bigint,
    p_parameters jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_task torc.task;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    WHILE v_task.id IS NULL LOOP  -- again if the active one ends between the two statements
        INSERT INTO torc.task (workflow_id, operation, parameters, caller, created_at)
        VALUES (p_workflow_id, 'initialize_jobs', p_parameters, to_jsonb(p_caller), torc.now())
        ON CONFLICT (workflow_id) WHERE status IN ('queued', 'running') DO NOTHING
        RETURNING * INTO v_task;
        IF v_task.id IS NULL THEN
            SELECT * INTO v_task
            FROM torc.task
            WHERE workflow_id = p_workflow_id AND torc.is_unfinished(status);
        END IF;
    END LOOP;
    IF v_task.parameters <> p_parameters THEN
        PERFORM torc.fail(
            'TC409',
            format(
                'initialize_jobs task already active with different parameters: existing=%s, requested=%s',
                v_task.parameters, p_parameters
            ),
            jsonb_build_object('existing_task_id', v_task.id, 'existing_operation', v_task.operation)
        );
    END IF;
    RETURN json_build_object('task', torc.task_json(v_task), 'is_small', NOT EXISTS (
        SELECT 1 FROM torc.job WHERE workflow_id = p_workflow_id ORDER BY id OFFSET 2000
    ));
END
$$;

-- Marks a queued task as running, unless another process is about to do it.
CREATE OR REPLACE FUNCTION torc.begin_task(p_task_id bigint)
RETURNS void
LANGUAGE sql
AS $$
    UPDATE torc.task
    SET status = 'running', started_at = torc.now()
    WHERE id = (SELECT id FROM torc.task WHERE id = p_task_id AND status = 'queued' FOR UPDATE SKIP LOCKED)
$$;

-- Does a task and stores how it ended, unless it is done or another process does it. Returns the task; NULL: there is
-- none. What initialize_jobs raises becomes the task's error; what another attempt may solve, such as a deadlock, is
-- raised. Locks: the task (advisory), then as initialize_jobs, then the task's row.
CREATE OR REPLACE FUNCTION torc.run_task(p_task_id bigint)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_task torc.task;
    v_caller torc.caller;
BEGIN
    IF pg_try_advisory_xact_lock(3, (p_task_id % 2147483648)::integer) THEN
        SELECT * INTO v_task FROM torc.task WHERE id = p_task_id AND torc.is_unfinished(status);
        IF FOUND THEN
            v_task.started_at := coalesce(v_task.started_at, torc.now());
            v_caller := jsonb_populate_record(NULL::torc.caller, v_task.caller);
            v_task.error := torc.failure_of_initialization(v_task, v_caller);
            UPDATE torc.task
            SET
                status = CASE WHEN v_task.error IS NULL THEN 'succeeded' ELSE 'failed' END,
                started_at = v_task.started_at,
                finished_at = torc.now(),
                error = v_task.error
            WHERE id = p_task_id
            RETURNING * INTO v_task;
            PERFORM torc.publish_task(v_task, v_caller);
        END IF;
    END IF;
    RETURN (SELECT torc.task_json(task) FROM torc.task AS task WHERE id = p_task_id);
END
$$;

-- Ends a task that takes longer than a statement may.
CREATE OR REPLACE FUNCTION torc.fail_task(p_task_id bigint, p_error text)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_task torc.task;
BEGIN
    UPDATE torc.task
    SET status = 'failed', finished_at = torc.now(), error = p_error
    WHERE id = p_task_id AND torc.is_unfinished(status)
    RETURNING * INTO v_task;
    IF FOUND THEN
        PERFORM torc.publish_task(v_task, jsonb_populate_record(NULL::torc.caller, v_task.caller));
    END IF;
END
$$;

-- initialize_jobs() with the parameters of a task; returns what it raised, or NULL.
CREATE OR REPLACE FUNCTION torc.failure_of_initialization(p_task torc.task, p_caller torc.caller)
RETURNS text
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.initialize_jobs(
        p_task.workflow_id,
        coalesce((p_task.parameters ->> 'only_uninitialized')::boolean, false),
        coalesce((p_task.parameters ->> 'clear_ephemeral_user_data')::boolean, false),
        coalesce((p_task.parameters ->> 'keep_running')::boolean, false),
        p_caller
    );
    RETURN NULL;
EXCEPTION
    WHEN deadlock_detected OR serialization_failure OR lock_not_available THEN
        RAISE;
    WHEN OTHERS THEN
        RETURN sqlerrm;
END
$$;

-- Notifies open streams how a task ended.
CREATE OR REPLACE FUNCTION torc.publish_task(p_task torc.task, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.publish_event(
        p_task.workflow_id,
        'task_completed',
        CASE WHEN p_task.error IS NULL THEN 'info' ELSE 'error' END,
        jsonb_strip_nulls(jsonb_build_object(
            'category', 'tasks',
            'type', 'task_completed',
            'task_id', p_task.id,
            'operation', p_task.operation,
            'status', p_task.status,
            'user', coalesce(p_caller.name, current_user),
            'message', format('task %s %s', p_task.id, p_task.status),
            'error', p_task.error
        ))
    );
END
$$;

-- A task. Raises TC404, also where the caller may not use its workflow.
CREATE OR REPLACE FUNCTION torc.get_task(p_task_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_task torc.task;
BEGIN
    SELECT * INTO v_task FROM torc.task WHERE id = p_task_id;
    IF NOT FOUND OR NOT torc.may_use_workflow(v_task.workflow_id, p_caller) THEN
        PERFORM torc.fail('TC404', 'Task not found');
    END IF;
    RETURN torc.task_json(v_task);
END
$$;

-- {"task": the active task of a workflow, or null}. Raises TC404, also where the caller may not use the workflow.
CREATE OR REPLACE FUNCTION torc.active_task(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM torc.workflow WHERE id = p_workflow_id)
        OR NOT torc.may_use_workflow(p_workflow_id, p_caller)
    THEN
        PERFORM torc.fail('TC404', 'Workflow not found');
    END IF;
    RETURN json_build_object('task', (
        SELECT torc.task_json(task)
        FROM torc.task AS task
        WHERE workflow_id = p_workflow_id AND torc.is_unfinished(status)
    ));
END
$$;
