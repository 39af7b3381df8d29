-- When the counters of workflow actions move. Only actions below their requirement advance; job triggers count how
-- often job_ids contains a job. Action rows are locked last, by id; they guard the rows of workflow_action_job.

-- Jobs changed status in settle_dependents() or complete_job():
--   on_jobs_ready: a blocked job was released, or canceled by dependency (it waits no longer);
--   on_jobs_complete: a job reached a terminal status.
-- A cancellation that is taken back takes its count back. The actions are found by the jobs, whatever the length of
-- their lists; see job_edges.sql for how the statements stay linear.
CREATE OR REPLACE FUNCTION torc.trigger_job_actions(p_workflow_id bigint, p_changes torc.status_change[])
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_action_ids bigint[] := ARRAY(
        SELECT DISTINCT link.action_id
        FROM unnest(p_changes) AS change
        CROSS JOIN LATERAL (
            SELECT action_id FROM torc.workflow_action_job WHERE job_id = change.job_id OFFSET 0
        ) AS link
    );
BEGIN
    IF v_action_ids = '{}' THEN
        RETURN;
    END IF;
    PERFORM 1 FROM torc.workflow_action WHERE id = ANY (v_action_ids) ORDER BY id FOR UPDATE;

    WITH action AS MATERIALIZED (
        SELECT id, trigger_type, trigger_count < required_triggers AS advances
        FROM torc.workflow_action
        WHERE id = ANY (v_action_ids) AND trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
    ),

    step AS MATERIALIZED (
        SELECT
            action.id AS action_id,
            action.advances,
            link.job_id,
            sum(link.occurrences * CASE action.trigger_type
                WHEN 'on_jobs_ready' THEN torc.ready_trigger_delta(link.old_status, link.new_status)
                ELSE torc.complete_trigger_delta(link.old_status, link.new_status)
            END) AS count
        FROM (
            SELECT change.old_status, change.new_status, listed.*
            FROM unnest(p_changes) AS change
            CROSS JOIN LATERAL (SELECT * FROM torc.workflow_action_job WHERE job_id = change.job_id OFFSET 0) AS listed
            OFFSET 0
        ) AS link
        INNER JOIN action ON action.id = link.action_id
        GROUP BY action.id, action.advances, link.job_id
    ),

    total AS MATERIALIZED (
        SELECT action_id, sum(count) AS count
        FROM step
        GROUP BY action_id, advances
        HAVING sum(count) < 0 OR sum(count) > 0 AND advances
    ),

    advanced AS (
        UPDATE torc.workflow_action AS action
        SET trigger_count = torc.clamp_to_64_bits(greatest(action.trigger_count + total.count, 0))
        FROM total
        WHERE action.id = total.action_id AND action.id = ANY (v_action_ids)
    )

    UPDATE torc.workflow_action_job AS link
    SET counted = greatest(link.counted + step.count, 0)
    FROM step
    INNER JOIN total ON total.action_id = step.action_id
    WHERE step.count <> 0
        AND link.job_id = step.job_id AND link.action_id = step.action_id
        AND link.job_id = ANY (ARRAY(SELECT job_id FROM step));
END
$$;

-- What one change counts for on_jobs_ready: +1 for a job that waits no longer, -1 for one that waits again.
CREATE OR REPLACE FUNCTION torc.ready_trigger_delta(p_old torc.job_status, p_new torc.job_status)
RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN (p_old, p_new) IN (('blocked', 'ready'), ('blocked', 'canceled')) THEN 1
        WHEN (p_old, p_new) = ('canceled', 'blocked') THEN -1
        ELSE 0
    END
$$;

-- What one change counts for on_jobs_complete: +1 for reaching a terminal status, -1 for a cancellation taken back.
CREATE OR REPLACE FUNCTION torc.complete_trigger_delta(p_old torc.job_status, p_new torc.job_status)
RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_new = 'pending_failed' OR torc.is_complete(p_new) AND NOT torc.is_complete(p_old) THEN 1
        WHEN (p_old, p_new) IN (('canceled', 'blocked'), ('canceled', 'ready')) THEN -1
        ELSE 0
    END
$$;

-- Fires on_workflow_complete if the workflow is complete now. Under shared locks no completion knows that it is the
-- last one (without a lock, 4 simultaneous last completions missed it in 347 of 400 workflows): so the action rows are
-- locked first, and a new statement reads the jobs. The transaction that gets the lock last sees all others committed.
-- Fast path: if more jobs are open than max_connections, concurrent transactions cannot complete them all, the workflow
-- cannot be complete, and no lock is taken. Blocked jobs do not count, because one completion may cancel any number of
-- them.
CREATE OR REPLACE FUNCTION torc.trigger_workflow_complete(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_transactions integer := current_setting('max_connections');
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM torc.workflow_action
        WHERE workflow_id = p_workflow_id AND trigger_type = 'on_workflow_complete'
            AND trigger_count < required_triggers
    ) THEN
        RETURN;
    END IF;
    IF v_transactions < (
        SELECT count(*)
        FROM torc.unblocked_ranges() AS open
        CROSS JOIN LATERAL (
            SELECT 1
            FROM torc.job
            WHERE workflow_id = p_workflow_id
                AND status BETWEEN open.first_status AND open.last_status
            ORDER BY status, id  -- of job_workflow_id_status_idx, see has_jobs_between()
            LIMIT v_transactions + 1
        ) AS open_job
    ) THEN
        RETURN;
    END IF;
    PERFORM 1
    FROM torc.workflow_action
    WHERE workflow_id = p_workflow_id AND trigger_type = 'on_workflow_complete'
    ORDER BY id
    FOR UPDATE;
    IF torc.is_finished(p_workflow_id) THEN
        UPDATE torc.workflow_action
        SET trigger_count = trigger_count + 1
        WHERE workflow_id = p_workflow_id AND trigger_type = 'on_workflow_complete'
            AND trigger_count < required_triggers;
    END IF;
END
$$;

-- What initialize_jobs does to the actions of a workflow. Recovery actions are deleted. Counters become the number of
-- listed jobs that satisfy the action; start and worker triggers fire. Executed actions may be executed again, except,
-- with p_only_uninitialized, those whose cause has not been reset: on_workflow_start, and an action on jobs all of
-- whose jobs are complete. The caller holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.reset_actions(p_workflow_id bigint, p_only_uninitialized boolean)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_action_ids bigint[];
BEGIN
    DELETE FROM torc.workflow_action WHERE workflow_id = p_workflow_id AND is_recovery;
    v_action_ids := ARRAY(SELECT id FROM torc.workflow_action WHERE workflow_id = p_workflow_id ORDER BY id FOR UPDATE);

    WITH satisfied AS MATERIALIZED (
        SELECT
            link.job_id,
            link.action_id,
            CASE
                WHEN action.trigger_type = 'on_jobs_ready' AND (torc.is_complete(job.status) OR job.status = 'ready')
                    OR action.trigger_type = 'on_jobs_complete' AND torc.is_complete(job.status)
                    THEN link.occurrences
                ELSE 0
            END AS counted
        FROM torc.workflow_action AS action
        CROSS JOIN LATERAL (SELECT * FROM torc.workflow_action_job WHERE action_id = action.id OFFSET 0) AS link
        CROSS JOIN LATERAL (SELECT status FROM torc.job WHERE id = link.job_id OFFSET 0) AS job
        WHERE action.id = ANY (v_action_ids)
    )

    UPDATE torc.workflow_action_job AS link
    SET counted = satisfied.counted
    FROM satisfied
    WHERE link.job_id = satisfied.job_id AND link.action_id = satisfied.action_id
        AND link.action_id = ANY (v_action_ids)
        AND link.counted <> satisfied.counted;

    UPDATE torc.workflow_action AS action
    SET
        executed = executed AND p_only_uninitialized AND torc.keeps_its_cause(action),
        executed_by = CASE WHEN p_only_uninitialized AND torc.keeps_its_cause(action) THEN executed_by END,
        trigger_count = CASE
            WHEN trigger_type IN ('on_jobs_ready', 'on_jobs_complete') THEN (
                SELECT coalesce(sum(counted), 0) FROM torc.workflow_action_job WHERE action_id = action.id
            )
            WHEN trigger_type = 'on_workflow_start' THEN 1
            WHEN trigger_type IN ('on_worker_start', 'on_worker_complete') THEN required_triggers
            ELSE 0
        END
    WHERE id = ANY (v_action_ids);
END
$$;

-- Whether nothing that an executed action waited for has been reset, so that it would only be executed a second time.
CREATE OR REPLACE FUNCTION torc.keeps_its_cause(p_action torc.workflow_action)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN p_action.trigger_type = 'on_workflow_start'
        OR p_action.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
        AND p_action.job_ids <> '{}'
        AND p_action.required_triggers <= (
            SELECT coalesce(sum(link.occurrences), 0)
            FROM torc.workflow_action_job AS link
            WHERE link.action_id = p_action.id
                AND torc.is_complete((SELECT status FROM torc.job WHERE id = link.job_id))
        );
END
$$;

-- Deleted jobs leave the actions: their ids leave job_ids, and what they counted leaves the counters. An action on jobs
-- whose last job is deleted requires a trigger that never comes. Locks: the actions by id.
CREATE OR REPLACE FUNCTION torc.forget_jobs_of_actions(p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_action_ids bigint[] := ARRAY(
        SELECT DISTINCT action_id FROM torc.workflow_action_job WHERE job_id = ANY (p_job_ids)
    );
BEGIN
    IF v_action_ids = '{}' THEN
        RETURN;
    END IF;
    PERFORM 1 FROM torc.workflow_action WHERE id = ANY (v_action_ids) ORDER BY id FOR UPDATE;

    WITH forgotten AS (
        DELETE FROM torc.workflow_action_job WHERE job_id = ANY (p_job_ids) RETURNING action_id, counted
    ),

    lost AS (
        SELECT action_id, sum(counted) AS counted FROM forgotten GROUP BY action_id
    )

    UPDATE torc.workflow_action AS action
    SET
        job_ids = kept.job_ids,
        required_triggers = CASE
            WHEN action.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
                THEN greatest(cardinality(kept.job_ids), 1)
            ELSE action.required_triggers
        END,
        trigger_count = torc.clamp_to_64_bits(
            CASE
                WHEN lost.counted > 0 THEN greatest(action.trigger_count - lost.counted, 0)
                ELSE action.trigger_count
            END
        )
    FROM lost
    CROSS JOIN LATERAL (
        SELECT ARRAY(
            SELECT listed.job_id
            FROM torc.workflow_action AS listing
            CROSS JOIN LATERAL unnest(listing.job_ids) WITH ORDINALITY AS listed (job_id, position)
            WHERE listing.id = lost.action_id AND (listed.job_id = ANY (p_job_ids)) IS NOT TRUE
            ORDER BY listed.position
        ) AS job_ids
        OFFSET 0
    ) AS kept
    WHERE action.id = lost.action_id AND action.id = ANY (v_action_ids);
END
$$;
