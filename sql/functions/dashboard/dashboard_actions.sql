-- The buttons of the dashboard. What a button does, and what its preview says that it would do, is the same call; a
-- preview takes it back. The rules are in the functions that are called.

-- Acts on a workflow. Locks and errors: those of the function called; TC422 for an unknown action.
CREATE OR REPLACE FUNCTION torc.dashboard_act(p_workflow_id bigint, p_action text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    CASE p_action
        WHEN 'initialize' THEN PERFORM torc.initialize_jobs(p_workflow_id, false, false, true, p_caller);
        WHEN 'cancel' THEN PERFORM torc.cancel_workflow(p_workflow_id, p_caller);
        WHEN 'retry' THEN PERFORM torc.retry_failed_jobs(p_workflow_id, p_caller);
        WHEN 'reset' THEN
            PERFORM torc.reset_workflow_status(p_workflow_id, false, p_caller);
            PERFORM torc.reset_job_status(p_workflow_id, false, p_caller);
        WHEN 'archive' THEN PERFORM torc.archive_workflow(p_workflow_id, true, p_caller);
        WHEN 'unarchive' THEN PERFORM torc.archive_workflow(p_workflow_id, false, p_caller);
        WHEN 'delete' THEN PERFORM torc.delete_workflow(p_workflow_id, p_caller);
        ELSE PERFORM torc.fail('TC422', 'There is no such action on a workflow', '{"field": "action"}');
    END CASE;
END
$$;

-- Acts on a job. Locks and errors: those of the function called; TC422 for an unknown action.
CREATE OR REPLACE FUNCTION torc.dashboard_act_on_job(p_job_id bigint, p_action text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := torc.authorize_workflow(torc.workflow_of_job(p_job_id), p_caller);
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = v_workflow_id);
    v_attempt_id bigint := (SELECT attempt_id FROM torc.job WHERE id = p_job_id);
BEGIN
    CASE p_action
        WHEN 'retry' THEN PERFORM torc.retry_job(p_job_id, v_run_id, v_attempt_id + 1, p_caller);
        WHEN 'give-back' THEN PERFORM torc.give_back_job(p_job_id, p_caller);
        WHEN 'disable' THEN PERFORM torc.manage_status_change(p_job_id, 'disabled', NULL, p_caller);
        WHEN 'enable' THEN PERFORM torc.manage_status_change(p_job_id, 'uninitialized', NULL, p_caller);
        ELSE PERFORM torc.fail('TC422', 'There is no such action on a job', '{"field": "action"}');
    END CASE;
END
$$;

-- Acts on a compute node. Locks and errors: those of the function called; TC422 for an unknown action.
CREATE OR REPLACE FUNCTION torc.dashboard_act_on_node(p_node_id bigint, p_action text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    CASE p_action
        WHEN 'give-back' THEN PERFORM torc.give_back_jobs_of_node(p_node_id, false, false, p_caller);
        WHEN 'give-back-claims' THEN PERFORM torc.give_back_jobs_of_node(p_node_id, true, false, p_caller);
        ELSE PERFORM torc.fail('TC422', 'There is no such action on a compute node', '{"field": "action"}');
    END CASE;
END
$$;

-- Retries every failed and terminated job of a workflow, in its current run.
-- Locks: workflow exclusive, then as retry_job(), job by job. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.retry_failed_jobs(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_run_id bigint;
    v_job record;
    v_count bigint := 0;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    SELECT run_id INTO v_run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id;
    FOR v_job IN
        SELECT id, attempt_id
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND torc.is_failed(status) AND torc.is_retryable(status)
        ORDER BY id
    LOOP
        PERFORM torc.retry_job(v_job.id, v_run_id, v_job.attempt_id + 1, p_caller);
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;

-- What an action would change, found by doing it and taking it back: {"run_id": …, "new_run_id": …, "nodes": how many
-- nodes would be no longer active, "unnamed_claims": for a node, how many jobs of its workflow that were claimed
-- without a node would be left, "changes": [{"from", "to", "jobs", "names": up to three}]}. For delete: {"deletes": how
-- many rows of what}. One of the three ids says on what the action is. Raises what the action raises. Locks: workflow
-- exclusive, until the end of the statement, and what the action locks.
CREATE OR REPLACE FUNCTION torc.dashboard_preview(
    p_workflow_id bigint,
    p_job_id bigint,
    p_node_id bigint,
    p_action text,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_workflow_id bigint := CASE
        WHEN p_node_id IS NOT NULL THEN torc.workflow_of_node(p_node_id)
        WHEN p_job_id IS NOT NULL THEN torc.workflow_of_job(p_job_id)
        ELSE p_workflow_id
    END;
    v_ids bigint[];
    v_before torc.job_status[];
    v_nodes bigint;
    v_answer jsonb;
BEGIN
    PERFORM torc.authorize_workflow(v_workflow_id, p_caller);
    IF p_action = 'delete' AND p_workflow_id IS NOT NULL THEN
        RETURN jsonb_build_object('deletes', torc.dashboard_rows_of(v_workflow_id));
    END IF;
    BEGIN
        PERFORM torc.lock_workflow(v_workflow_id, p_caller);
        SELECT array_agg(id), array_agg(status) INTO v_ids, v_before
        FROM (SELECT id, status FROM torc.job WHERE workflow_id = v_workflow_id ORDER BY id) AS job;
        v_nodes := torc.dashboard_active_nodes(v_workflow_id);
        v_answer := (
            SELECT jsonb_build_object('run_id', run_id) FROM torc.workflow_status WHERE workflow_id = v_workflow_id
        );
        IF p_node_id IS NOT NULL THEN
            PERFORM torc.dashboard_act_on_node(p_node_id, p_action, p_caller);
        ELSIF p_job_id IS NOT NULL THEN
            PERFORM torc.dashboard_act_on_job(p_job_id, p_action, p_caller);
        ELSE
            PERFORM torc.dashboard_act(p_workflow_id, p_action, p_caller);
        END IF;
        v_answer := v_answer || jsonb_build_object(
            'new_run_id', (SELECT run_id FROM torc.workflow_status WHERE workflow_id = v_workflow_id),
            'nodes', v_nodes - torc.dashboard_active_nodes(v_workflow_id),
            'changes', torc.dashboard_changes(v_ids, v_before)
        );
        IF p_node_id IS NOT NULL THEN
            v_answer := v_answer || jsonb_build_object('unnamed_claims', (
                SELECT count(*)
                FROM torc.job
                WHERE workflow_id = v_workflow_id AND status = 'pending' AND active_compute_node_id IS NULL
            ));
        END IF;
        RAISE SQLSTATE 'TC001';
    EXCEPTION
        WHEN SQLSTATE 'TC001' THEN  -- not TC000, which means the whole class
            RETURN v_answer;
    END;
END
$$;

-- How many compute nodes of a workflow are active.
CREATE OR REPLACE FUNCTION torc.dashboard_active_nodes(p_workflow_id bigint)
RETURNS bigint
LANGUAGE sql STABLE
AS $$ SELECT count(*) FROM torc.compute_node WHERE workflow_id = p_workflow_id AND is_active $$;

-- Which jobs have another status now than before; the arrays belong together. VOLATILE, to see what has just been done.
CREATE OR REPLACE FUNCTION torc.dashboard_changes(p_ids bigint[], p_before torc.job_status[])
RETURNS jsonb
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(
            jsonb_build_object('from', old, 'to', new, 'jobs', jobs, 'names', names[1:3]) ORDER BY old, new
        ), '[]')
        FROM (
            SELECT
                before.status AS old,
                job.status AS new,
                count(*) AS jobs,
                array_agg(job.name ORDER BY job.id) AS names
            FROM unnest(p_ids, p_before) AS before (id, status)
            CROSS JOIN LATERAL (SELECT * FROM torc.job WHERE id = before.id OFFSET 0) AS job
            WHERE job.status <> before.status
            GROUP BY before.status, job.status
        ) AS moved
    );
END
$$;

-- How many rows go with a workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_rows_of(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN jsonb_build_object(
        'jobs', (SELECT count(*) FROM torc.job WHERE workflow_id = p_workflow_id),
        'results', (SELECT count(*) FROM torc.result WHERE workflow_id = p_workflow_id),
        'files', (SELECT count(*) FROM torc.file WHERE workflow_id = p_workflow_id),
        'user data', (SELECT count(*) FROM torc.user_data WHERE workflow_id = p_workflow_id),
        'compute nodes', (SELECT count(*) FROM torc.compute_node WHERE workflow_id = p_workflow_id),
        'events', (SELECT count(*) FROM torc.event WHERE workflow_id = p_workflow_id)
    );
END
$$;
