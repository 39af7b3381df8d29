-- Stores the result of a job, moves the job to a terminal status, settles its dependents and triggers the actions that
-- waited for any of it, all or nothing.
-- p_result: the ResultModel. Its attempt_id defaults to the job's. Which attempt it reports is settled by
-- reported_attempt(): a stale report is stored and moves nothing, a report that is stored already changes nothing.
-- A job canceled by a dependency is accepted unless its attempt has a result in this run: the worker ran the job, so
-- its result takes precedence over the automatic cancellation.
-- Locks: workflow shared, the job's row, dependents by id, action rows by id. Raises TC404, TC403, TC409 (disabled,
-- pending_failed), TC422 (status not terminal, already complete, another result of the attempt is stored, ids or status
-- that differ from the path, unknown node).
-- Hot path: a call in plpgsql costs 8 µs, a statement 4, and each table that it reads 4
-- (benchmarks/decisions/one_call, hot_statements). So the locks are taken here, the UPDATE queries all that must hold
-- and makes the answer, and only the first report of the attempt under way of a pending or running job (nearly every
-- one) is completed here. What a wait for the row could hide from the UPDATE changes the row too: a result that is
-- stored meanwhile changes its status or attempt. All other reports go to judge_completion().
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
    IF v_has_dependents AND torc.is_complete(p_status) THEN
        v_downstream := torc.release_dependents(p_job_id, p_status);
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

-- complete_job() for any report: refuses it, stores it as one of an earlier attempt, answers one that is stored
-- already, or completes the job.
CREATE OR REPLACE FUNCTION torc.judge_completion(
    p_job_id bigint,
    p_status torc.job_status,
    p_run_id bigint,
    p_result jsonb,
    p_caller torc.caller
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
    v_result torc.result := jsonb_populate_record(NULL::torc.result, p_result);
BEGIN
    PERFORM torc.refuse_completion(v_job, p_status, p_run_id, v_result);
    PERFORM torc.authorize_node_reference(v_job.workflow_id, v_result.compute_node_id, p_caller);
    v_result.attempt_id := coalesce(v_result.attempt_id, v_job.attempt_id);
    v_result.attempt_id := torc.reported_attempt(v_job, v_result);
    IF v_result.attempt_id IS NULL THEN
        RETURN torc.job_with_relations_json(v_job);
    END IF;
    PERFORM torc.keep_references(v_job.workflow_id, 'compute_node_id', ARRAY[v_result.compute_node_id]);
    UPDATE torc.result SET is_current = false WHERE job_id = p_job_id AND is_current;
    PERFORM torc.complete_running_jobs(
        v_job.workflow_id, ARRAY[v_result], ARRAY[(p_job_id, v_job.status, p_status)::torc.status_change]
    );
    RETURN torc.job_with_relations_json(p_job_id);
END
$$;

-- The attempt that a report ends, if it is not plainly the first report of the attempt under way. NULL: it moves
-- nothing, because
--   * it is stored already, field by field (also as the result of the current attempt, for clients that always send 1);
--   * or it is stale: its attempt is lower than the job's, and it does not come from the node that runs the job now.
--     Then it is stored here as the result of its attempt, and never as the current one.
-- A lower attempt from the node that runs the job now is the current one: a node that retries a job does not report the
-- old attempt, but simple clients always send 1. Raises TC409, TC422.
CREATE OR REPLACE FUNCTION torc.reported_attempt(p_job torc.job, p_result torc.result)
RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    IF torc.is_stored(p_result, p_job.attempt_id) THEN
        RETURN NULL;
    END IF;
    IF p_job.status = 'running' AND p_job.active_compute_node_id = p_result.compute_node_id THEN
        p_result.attempt_id := greatest(p_result.attempt_id, p_job.attempt_id);
    END IF;
    IF p_result.attempt_id >= p_job.attempt_id THEN
        PERFORM torc.check_completable(p_job, p_result.run_id);
    END IF;
    IF EXISTS (
        SELECT 1
        FROM torc.result
        WHERE job_id = p_job.id AND run_id = p_result.run_id AND attempt_id = p_result.attempt_id
    ) THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'Another result of attempt %s of job %s is stored for run %s',
                p_result.attempt_id, p_job.id, p_result.run_id
            ),
            jsonb_build_object('field', 'attempt_id', 'value', p_result.attempt_id)
        );
    END IF;
    IF p_result.attempt_id < p_job.attempt_id THEN
        PERFORM torc.keep_references(p_result.workflow_id, 'compute_node_id', ARRAY[p_result.compute_node_id]);
        PERFORM torc.store_result(p_result, false);
        RETURN NULL;
    END IF;
    RETURN p_result.attempt_id;
END
$$;

-- Whether the result is stored with the same value in every field, as the result of the given attempt or of a higher
-- one.
CREATE OR REPLACE FUNCTION torc.is_stored(p_result torc.result, p_attempt_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_apart text[] := '{id,attempt_id,is_current}';
BEGIN
    RETURN EXISTS (
        SELECT 1
        FROM torc.result AS stored
        WHERE job_id = p_result.job_id
            AND run_id = p_result.run_id
            AND attempt_id IN (p_result.attempt_id, greatest(p_result.attempt_id, p_attempt_id))
            AND to_jsonb(stored) - v_apart = to_jsonb(p_result) - v_apart
    );
END
$$;

-- Notifies open streams that a job has ended.
CREATE OR REPLACE FUNCTION torc.publish_completion(p_job torc.job, p_result torc.result)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.publish_event(
        p_job.workflow_id,
        format('job_%s', p_job.status),
        CASE
            WHEN p_job.status = 'failed' THEN 'error'
            WHEN torc.is_failed(p_job.status) THEN 'warning'
            ELSE 'info'
        END,
        jsonb_build_object(
            'job_id', p_job.id, 'job_name', p_job.name, 'status', p_job.status, 'return_code', p_result.return_code
        )
    );
END
$$;

-- Says which part of the request itself is wrong, whatever the job's status. Raises TC422.
CREATE OR REPLACE FUNCTION torc.refuse_completion(
    p_job torc.job,
    p_status torc.job_status,
    p_run_id bigint,
    p_result torc.result
)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT torc.is_terminal(p_status) THEN
        PERFORM torc.fail(
            'TC422',
            format('Status ''%s'' is not a terminal status for job completion', p_status),
            jsonb_build_object('field', 'status', 'value', p_status)
        );
    END IF;
    IF p_result.job_id <> p_job.id THEN
        PERFORM torc.fail(
            'TC422',
            format('ResultModel job_id %s does not match target job_id %s', p_result.job_id, p_job.id),
            jsonb_build_object('field', 'job_id', 'value', p_result.job_id)
        );
    END IF;
    IF p_result.workflow_id <> p_job.workflow_id THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'ResultModel workflow_id %s does not match job''s workflow_id %s',
                p_result.workflow_id, p_job.workflow_id
            ),
            jsonb_build_object('field', 'workflow_id', 'value', p_result.workflow_id)
        );
    END IF;
    IF p_result.status <> p_status THEN
        PERFORM torc.fail(
            'TC422',
            format('ResultModel status %s does not match target status %s', p_result.status, p_status),
            jsonb_build_object('field', 'status', 'value', p_result.status)
        );
    END IF;
    PERFORM torc.check_run_id(p_job.workflow_id, p_run_id);
    IF p_result.run_id <> p_run_id THEN
        PERFORM torc.check_run_id(p_job.workflow_id, p_result.run_id);
    END IF;
END
$$;

-- Whether the job's status lets it be completed. Raises TC409, TC422.
CREATE OR REPLACE FUNCTION torc.check_completable(p_job torc.job, p_run_id bigint)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF torc.is_waiting(p_job.status) OR torc.is_active(p_job.status) THEN
        RETURN;
    END IF;
    IF NOT torc.is_complete(p_job.status) THEN
        PERFORM torc.fail('TC409', format('Job %s has status %s and cannot be completed', p_job.id, p_job.status));
    END IF;
    IF NOT p_job.canceled_by_dependency
        OR EXISTS (
            SELECT 1
            FROM torc.result
            WHERE job_id = p_job.id AND run_id = p_run_id AND attempt_id >= p_job.attempt_id
        )
    THEN
        PERFORM torc.fail('TC422', format('Job %s is already complete with status %s', p_job.id, p_job.status));
    END IF;
END
$$;
