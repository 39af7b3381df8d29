-- An action as it goes on the wire. A null inside action_config is kept.
CREATE OR REPLACE FUNCTION torc.workflow_action_json(a torc.workflow_action)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT (
        jsonb_strip_nulls(jsonb_build_object(
            'id', a.id,
            'workflow_id', a.workflow_id,
            'trigger_type', a.trigger_type,
            'action_type', a.action_type,
            'job_ids', a.job_ids,
            'trigger_count', a.trigger_count,
            'required_triggers', a.required_triggers,
            'executed', a.executed,
            'executed_at', to_char(a.executed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
            'executed_by', a.executed_by,
            'persistent', a.persistent,
            'is_recovery', a.is_recovery
        )) || jsonb_build_object('action_config', a.action_config)
    )::json
$$;

-- Stores an action from a WorkflowActionModel and returns it as stored. required_triggers is computed: the number of
-- job_ids for the two triggers on jobs, else 1. Locks: workflow shared (an action sees all transitions after it or none
-- of them). Raises TC404, TC403, TC422 for a job that is not in the workflow.
CREATE OR REPLACE FUNCTION torc.create_workflow_action(
    p_workflow_id bigint,
    p_body jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.workflow_action := jsonb_populate_record(
        NULL::torc.workflow_action, p_body - 'executed_at'  -- may be any text, and is not stored
    );
    v_unknown bigint;
BEGIN
    PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    SELECT listed.id INTO v_unknown
    FROM unnest(v_new.job_ids) AS listed (id)
    WHERE p_workflow_id IS DISTINCT FROM (SELECT workflow_id FROM torc.job WHERE id = listed.id)
    LIMIT 1;
    IF FOUND THEN
        PERFORM torc.fail_for_unknown('job_ids', v_unknown, p_workflow_id);
    END IF;
    INSERT INTO torc.workflow_action (
        workflow_id, trigger_type, action_type, action_config, job_ids, trigger_count, required_triggers, executed,
        persistent, is_recovery
    )
    VALUES (
        p_workflow_id, v_new.trigger_type, v_new.action_type, v_new.action_config, v_new.job_ids,
        coalesce(v_new.trigger_count, 0),
        CASE
            WHEN v_new.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
                THEN coalesce(cardinality(v_new.job_ids), 1)
            ELSE 1
        END,
        coalesce(v_new.executed, false), coalesce(v_new.persistent, false), coalesce(v_new.is_recovery, false)
    )
    RETURNING * INTO v_new;
    INSERT INTO torc.workflow_action_job (job_id, action_id, occurrences)
    SELECT listed.id, v_new.id, count(*)
    FROM unnest(v_new.job_ids) AS listed (id)
    GROUP BY listed.id;
    RETURN torc.workflow_action_json(v_new);
END
$$;

-- Claims an action for a compute node, or without one (NULL). It need not be pending: recovery tools claim actions to
-- disarm them. A persistent action may be claimed any number of times.
-- Locks: workflow shared, the action's row. Raises TC404, TC403, TC409 (claimed already); an unknown node breaks the
-- table's key (422).
CREATE OR REPLACE FUNCTION torc.claim_action(
    p_workflow_id bigint,
    p_action_id bigint,
    p_compute_node_id bigint DEFAULT NULL,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_action torc.workflow_action;
BEGIN
    PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    SELECT * INTO v_action FROM torc.workflow_action WHERE id = p_action_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Action not found with ID: %s', p_action_id));
    END IF;
    IF v_action.workflow_id <> p_workflow_id THEN
        PERFORM torc.fail('TC404', format('Action %s does not belong to workflow %s', p_action_id, p_workflow_id));
    END IF;
    IF v_action.executed AND NOT v_action.persistent THEN
        PERFORM torc.fail('TC409', format('Action %s already claimed', p_action_id), '{"claimed": false}');
    END IF;
    PERFORM torc.authorize_node_reference(p_workflow_id, p_compute_node_id, p_caller);
    UPDATE torc.workflow_action
    SET
        executed_at = torc.now(),
        executed = NOT persistent,
        executed_by = CASE WHEN persistent THEN executed_by ELSE p_compute_node_id END
    WHERE id = p_action_id;
    RETURN json_build_object('action_id', p_action_id, 'success', true);
END
$$;

-- An action of the workflow, its row locked. Locks: workflow shared, the action's row. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.lock_action(p_workflow_id bigint, p_action_id bigint, p_caller torc.caller)
RETURNS torc.workflow_action
LANGUAGE plpgsql
AS $$
DECLARE
    v_action torc.workflow_action;
BEGIN
    PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    SELECT * INTO v_action
    FROM torc.workflow_action
    WHERE id = p_action_id AND workflow_id IS NOT DISTINCT FROM p_workflow_id
    FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Action not found with ID: %s', p_action_id));
    END IF;
    RETURN v_action;
END
$$;

-- What an action's configuration would be with some keys replaced: {action_type, action_config}. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.merge_action_config(
    p_workflow_id bigint,
    p_action_id bigint,
    p_updates jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    v_action torc.workflow_action := torc.lock_action(p_workflow_id, p_action_id, p_caller);
BEGIN
    RETURN jsonb_build_object(
        'action_type', v_action.action_type, 'action_config', v_action.action_config || p_updates
    );
END
$$;

-- Replaces some keys of an action's configuration, whatever its state, and returns the action. The caller has checked
-- what the configuration becomes. The rules are about one key each, so that two calls at the same time, both of which
-- are fine by themselves, are fine together. Locks: workflow shared, the action's row. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.update_workflow_action(
    p_workflow_id bigint,
    p_action_id bigint,
    p_updates jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_action torc.workflow_action := torc.lock_action(p_workflow_id, p_action_id, p_caller);
BEGIN
    UPDATE torc.workflow_action
    SET action_config = action_config || p_updates
    WHERE id = p_action_id
    RETURNING * INTO v_action;
    RETURN torc.workflow_action_json(v_action);
END
$$;

-- Deletes an action, whatever its state. Locks: workflow shared, the action's row. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_workflow_action(
    p_workflow_id bigint,
    p_action_id bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.lock_action(p_workflow_id, p_action_id, p_caller);
    DELETE FROM torc.workflow_action WHERE id = p_action_id;
END
$$;

-- Pending: enough triggers, not executed. An action on ready jobs is not pending while all its jobs are canceled by
-- dependency: each counts as one that waits no longer, but there is nothing to run.
CREATE OR REPLACE FUNCTION torc.is_pending(a torc.workflow_action)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT a.trigger_count >= a.required_triggers
        AND NOT a.executed
        AND (
            a.trigger_type <> 'on_jobs_ready'
            OR coalesce(cardinality(a.job_ids), 0) = 0
            OR EXISTS (
                SELECT 1
                FROM torc.job
                WHERE id = ANY (a.job_ids) AND workflow_id = a.workflow_id AND NOT canceled_by_dependency
            )
        )
$$;
