-- Stores the result of a job, moves the job to a terminal status, settles its dependents and triggers the actions that
-- waited for any of it, all or nothing.
-- p_result: the ResultModel. Its attempt_id defaults to the job's. Which attempt it reports is settled by
-- reported_attempt(): a stale report is stored and moves nothing, a report that is stored already changes nothing.
-- A job canceled by a dependency is accepted unless its attempt has a result in this run: the worker ran the job, so
-- its result takes precedence over the automatic cancellation.
-- Locks: workflow shared, the job's row, dependents by id, action rows by id. Raises TC404, TC403, TC409 (disabled,
-- pending_failed), TC422 (status not terminal, already complete, another result of the attempt is stored, ids or status
-- that differ from the path, unknown node).
-- Hot path: every statement and every function in plpgsql costs 10 µs or more (benchmarks/decisions/one_call). So the
-- locks are taken here, five queries are one, and the UPDATE makes the answer; the whole row of the job is read only
-- where it is needed. The five queries come after the lock of the row, under which no other result of the job is
-- stored. A sixth query, for a result of this attempt, took 2.5 µs: attempt_run_id and the current result already tell
-- when there can be none.
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
    IF v_workflow_id IS NULL OR p_caller.enforced OR NOT torc.shares_at_once(v_workflow_id) THEN
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
    PERFORM torc.store_result(v_result, v_has_result);
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
        PERFORM torc.store_result(p_result, false, false);
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

-- Tells open streams.
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
            WHEN p_job.status IN ('canceled', 'terminated') THEN 'warning'
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
    IF NOT torc.is_complete(p_status) AND p_status <> 'pending_failed' THEN
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
    IF p_job.status IN ('disabled', 'pending_failed') THEN
        PERFORM torc.fail('TC409', format('Job %s has status %s and cannot be completed', p_job.id, p_job.status));
    END IF;
    IF NOT torc.is_complete(p_job.status) THEN
        RETURN;
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
