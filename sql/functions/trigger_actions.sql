-- When the counters of workflow actions move. Only actions below their requirement advance; job triggers count how often
-- a job stands in job_ids. Action rows are locked last, by id.

-- Jobs changed status in settle_dependents() or complete_job():
--   on_jobs_ready: a blocked job was released, or canceled by dependency (it waits no longer);
--   on_jobs_complete: a job reached a terminal status.
-- A cancellation that is taken back takes its count back.
CREATE OR REPLACE FUNCTION torc.trigger_job_actions(p_workflow_id bigint, p_changes torc.status_change[])
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    PERFORM 1
    FROM torc.workflow_action
    WHERE workflow_id = p_workflow_id
        AND trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
        AND job_ids && ARRAY(SELECT job_id FROM unnest(p_changes))
    ORDER BY id
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    WITH step AS (
        SELECT
            action.id,
            sum(CASE action.trigger_type
                WHEN 'on_jobs_ready' THEN torc.ready_step(change.old_status, change.new_status)
                ELSE torc.complete_step(change.old_status, change.new_status)
            END) AS count
        FROM torc.workflow_action AS action
        CROSS JOIN LATERAL unnest(action.job_ids) AS listed (job_id)
        INNER JOIN unnest(p_changes) AS change ON change.job_id = listed.job_id
        WHERE action.workflow_id = p_workflow_id AND action.trigger_type IN ('on_jobs_ready', 'on_jobs_complete')
        GROUP BY action.id
    )

    UPDATE torc.workflow_action AS action
    SET trigger_count = greatest(action.trigger_count + step.count, 0)
    FROM step
    WHERE action.id = step.id AND step.count <> 0 AND (step.count < 0 OR action.trigger_count < action.required_triggers);
END
$$;

-- What one change counts for on_jobs_ready: +1 for a job that waits no longer, -1 for one that waits again.
CREATE OR REPLACE FUNCTION torc.ready_step(p_old torc.job_status, p_new torc.job_status)
RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_old = 'blocked' AND p_new IN ('ready', 'canceled') THEN 1
        WHEN p_old = 'canceled' AND p_new = 'blocked' THEN -1
        ELSE 0
    END
$$;

-- What one change counts for on_jobs_complete: +1 for reaching a terminal status, -1 for a cancellation taken back.
CREATE OR REPLACE FUNCTION torc.complete_step(p_old torc.job_status, p_new torc.job_status)
RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_new = 'pending_failed' OR torc.is_complete(p_new) AND NOT torc.is_complete(p_old) THEN 1
        WHEN p_old = 'canceled' AND p_new IN ('blocked', 'ready') THEN -1
        ELSE 0
    END
$$;

-- Fires on_workflow_complete if the workflow is complete now. Under shared locks no completion knows that it is the last
-- one (looked at without a lock, 4 simultaneous last ones lost it in 347 of 400 workflows): so the action rows are
-- locked first, and a new statement looks. Whoever gets the lock last sees all others committed.
-- While more jobs are open than there can be transactions, one stays open whatever the others do, and no lock is needed.
-- (Blocked ones do not count for that: one completion may cancel any number of them.)
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
        FROM (
            SELECT 1
            FROM torc.job
            WHERE workflow_id = p_workflow_id
                AND status IN ('uninitialized', 'ready', 'pending', 'running', 'pending_failed')
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

-- initialize_jobs starts all actions anew: recovery actions go; what was executed may be executed again; counters say
-- how many of their jobs are there already; start and worker triggers fire. The caller holds the workflow's exclusive
-- lock.
CREATE OR REPLACE FUNCTION torc.reset_actions(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    DELETE FROM torc.workflow_action WHERE workflow_id = p_workflow_id AND is_recovery;
    UPDATE torc.workflow_action AS action
    SET
        executed = false,
        executed_by = NULL,
        trigger_count = CASE
            WHEN trigger_type IN ('on_jobs_ready', 'on_jobs_complete') THEN (
                SELECT count(*)
                FROM unnest(action.job_ids) AS listed (job_id)
                INNER JOIN torc.job AS job ON job.id = listed.job_id AND job.workflow_id = p_workflow_id
                WHERE torc.is_complete(job.status) OR action.trigger_type = 'on_jobs_ready' AND job.status = 'ready'
            )
            WHEN trigger_type = 'on_workflow_start' THEN 1
            WHEN trigger_type IN ('on_worker_start', 'on_worker_complete') THEN required_triggers
            ELSE 0
        END
    WHERE workflow_id = p_workflow_id;
END
$$;
