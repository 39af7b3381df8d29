-- Carries changes of status downstream: corrects the counters of direct dependents and lets them follow.
--   * a blocked job whose last open dependency became complete is ready, or, if it asked to be canceled and a
--     dependency failed, canceled and marked canceled_by_dependency;
--   * a job so marked goes back to blocked when a dependency opens again, and to ready when no failed one is left;
--   * what was canceled or taken back that way is itself a change for its own dependents, and so on down.
-- Returns what moved that way.
-- The callers hold the workflow's lock and the rows of the jobs that changed. Locks dependents, level by level, by id.
-- A locking statement that had to wait reads the locked job again; rows of other tables are those from before the wait.
-- That is safe here, because edges only change under the exclusive lock of the workflow.
-- O(out-degree): decisions come from the job's own counters, so that the last of 1,000 parents frees 1,000 children
-- without reading a million edges. What moved is collected by array_append(), which does not copy the array, so that a
-- chain costs the same per level however long it is; a level of one job takes the short way of move_dependent(), 40 µs
-- instead of 86. One plan for all calls: with a plan for each array, a call without
-- dependents took 184 µs instead of 20. See job_edges.sql for how it stays linear.
CREATE OR REPLACE FUNCTION torc.move_dependents(p_changes torc.status_change[])
RETURNS torc.status_change[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_changes torc.status_change[] := p_changes;
    v_change torc.status_change;
    v_downstream torc.status_change[] := '{}';
    v_goes_on boolean := true;
    v_settled torc.status_change[];  -- of all dependents of the level, whether their status changes or not
    v_job_ids bigint[];
    v_open bigint[];
    v_failed bigint[];
BEGIN
    WHILE v_goes_on LOOP
        IF cardinality(v_changes) = 1
           AND torc.changes_dependency_counts(v_changes[1].old_status, v_changes[1].new_status) THEN
            v_job_ids := ARRAY(
                SELECT job_id FROM torc.job_depends_on WHERE depends_on_job_id = v_changes[1].job_id LIMIT 2
            );
            IF cardinality(v_job_ids) = 1 THEN
                v_change := torc.move_dependent(v_job_ids[1], v_changes[1]);
                IF v_change.old_status <> v_change.new_status THEN
                    v_downstream := array_append(v_downstream, v_change);
                END IF;
                v_goes_on := torc.changes_dependency_counts(v_change.old_status, v_change.new_status);
                v_changes := ARRAY[v_change];
                CONTINUE;
            END IF;
        END IF;

        WITH delta AS MATERIALIZED (
            SELECT
                dependent.job_id,
                sum(
                    torc.is_complete(change.old_status)::integer - torc.is_complete(change.new_status)::integer
                ) AS opened,
                sum(torc.is_failed(change.new_status)::integer - torc.is_failed(change.old_status)::integer) AS failed
            FROM unnest(v_changes) AS change
            CROSS JOIN LATERAL torc.dependents_of(change.job_id) AS dependent
            WHERE torc.changes_dependency_counts(change.old_status, change.new_status)
            GROUP BY dependent.job_id
        ),

        locked AS (
            SELECT
                id, status, cancel_on_blocking_job_failure, canceled_by_dependency, open_dependencies,
                failed_dependencies
            FROM torc.job
            WHERE id = ANY (ARRAY(SELECT job_id FROM delta))
            ORDER BY id
            FOR UPDATE
        ),

        counted AS (
            SELECT
                locked.id,
                locked.status,
                locked.cancel_on_blocking_job_failure,
                locked.canceled_by_dependency,
                locked.open_dependencies + delta.opened AS open_dependencies,
                locked.failed_dependencies + delta.failed AS failed_dependencies
            FROM locked
            INNER JOIN delta ON delta.job_id = locked.id
        ),

        settled AS (
            SELECT
                counted.*,
                torc.settled_status(
                    status, open_dependencies, failed_dependencies, cancel_on_blocking_job_failure,
                    canceled_by_dependency
                ) AS new_status
            FROM counted
        )

        SELECT
            array_agg((id, status, new_status)::torc.status_change),
            array_agg(id),
            array_agg(open_dependencies),
            array_agg(failed_dependencies),
            coalesce(array_agg((id, status, new_status)::torc.status_change) FILTER (WHERE status <> new_status), '{}'),
            bool_or(torc.changes_dependency_counts(status, new_status))
        INTO v_settled, v_job_ids, v_open, v_failed, v_changes, v_goes_on
        FROM settled;
        EXIT WHEN v_settled IS NULL;

        UPDATE torc.job AS job
        SET
            status = settled.new_status,
            ready_at = CASE
                WHEN settled.new_status = 'ready' AND settled.old_status <> 'ready' THEN torc.now()
                ELSE job.ready_at
            END,
            open_dependencies = settled.open_dependencies,
            failed_dependencies = settled.failed_dependencies,
            canceled_by_dependency = settled.new_status = 'canceled'
                AND (settled.old_status = 'blocked' OR job.canceled_by_dependency)
        FROM unnest(v_settled, v_open, v_failed)
            AS settled (job_id, old_status, new_status, open_dependencies, failed_dependencies)
        WHERE job.id = settled.job_id AND job.id = ANY (v_job_ids);
        FOREACH v_change IN ARRAY v_changes LOOP
            v_downstream := array_append(v_downstream, v_change);
        END LOOP;
    END LOOP;
    RETURN v_downstream;
END
$$;

-- The status that a job takes when its counters change. Inlined.
CREATE OR REPLACE FUNCTION torc.settled_status(
    p_status torc.job_status,
    p_open_dependencies bigint,
    p_failed_dependencies bigint,
    p_cancel_on_blocking_job_failure boolean,
    p_canceled_by_dependency boolean
)
RETURNS torc.job_status
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_status = 'blocked' AND p_open_dependencies = 0
            THEN CASE
                -- A cast of the whole CASE would convert text, and the function could not be inlined.
                WHEN p_cancel_on_blocking_job_failure AND p_failed_dependencies > 0 THEN 'canceled'::torc.job_status
                ELSE 'ready'
            END
        WHEN p_canceled_by_dependency AND p_open_dependencies > 0 THEN 'blocked'
        WHEN p_canceled_by_dependency AND p_failed_dependencies = 0 THEN 'ready'
        ELSE p_status
    END
$$;

-- move_dependents() for the only dependent of one job that changed, one level: locks it, corrects its counters, and
-- returns how its status changed, if it did.
CREATE OR REPLACE FUNCTION torc.move_dependent(p_job_id bigint, p_change torc.status_change)
RETURNS torc.status_change
LANGUAGE plpgsql
AS $$
DECLARE
    v_status torc.job_status;
    v_new_status torc.job_status;
    v_open integer := torc.is_complete(p_change.old_status)::integer - torc.is_complete(p_change.new_status)::integer;
    v_failed integer := torc.is_failed(p_change.new_status)::integer - torc.is_failed(p_change.old_status)::integer;
BEGIN
    SELECT
        status,
        open_dependencies + v_open,
        failed_dependencies + v_failed,
        torc.settled_status(
            status, open_dependencies + v_open, failed_dependencies + v_failed, cancel_on_blocking_job_failure,
            canceled_by_dependency
        )
    INTO v_status, v_open, v_failed, v_new_status
    FROM torc.job
    WHERE id = p_job_id
    FOR UPDATE;
    UPDATE torc.job
    SET
        status = v_new_status,
        ready_at = CASE WHEN v_new_status = 'ready' AND v_status <> 'ready' THEN torc.now() ELSE ready_at END,
        open_dependencies = v_open,
        failed_dependencies = v_failed,
        canceled_by_dependency = v_new_status = 'canceled' AND (v_status = 'blocked' OR canceled_by_dependency)
    WHERE id = p_job_id;
    RETURN (p_job_id, v_status, v_new_status)::torc.status_change;
END
$$;

-- move_dependents() for one job that was active and has become complete, as nearly every change is. Its dependents are
-- blocked but for a few: one UPDATE locks, counts and moves those, because their old status is known without a query
-- (benchmarks/decisions/blocked_dependents). It finds them in the order of their ids. The others, which
-- manage_status_change() has moved, follow one by one, by id.
CREATE OR REPLACE FUNCTION torc.release_dependents(p_job_id bigint, p_status torc.job_status)
RETURNS torc.status_change[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    v_dependent_ids bigint[] := ARRAY(SELECT job_id FROM torc.job_depends_on WHERE depends_on_job_id = p_job_id);
    v_failed integer := torc.is_failed(p_status)::integer;
    v_id bigint;
    v_status torc.job_status;
    v_blocked_ids bigint[] := '{}';
    v_moved torc.status_change[] := '{}';
    v_goes_on boolean := false;  -- what was canceled has dependents too
    v_change torc.status_change;
BEGIN
    FOR v_id, v_status IN
        UPDATE torc.job
        SET
            status = torc.settled_status(
                'blocked', open_dependencies - 1, failed_dependencies + v_failed, cancel_on_blocking_job_failure, false
            ),
            ready_at = CASE WHEN open_dependencies = 1 THEN torc.now() ELSE ready_at END,
            open_dependencies = open_dependencies - 1,
            failed_dependencies = failed_dependencies + v_failed,
            canceled_by_dependency = torc.settled_status(
                'blocked', open_dependencies - 1, failed_dependencies + v_failed, cancel_on_blocking_job_failure, false
            ) = 'canceled'
        WHERE id = ANY (v_dependent_ids) AND status = 'blocked'
        RETURNING id, status
    LOOP
        v_blocked_ids := array_append(v_blocked_ids, v_id);
        IF v_status <> 'blocked' THEN
            v_moved := array_append(v_moved, (v_id, 'blocked', v_status)::torc.status_change);
            v_goes_on := v_goes_on OR v_status = 'canceled';
        END IF;
    END LOOP;
    IF cardinality(v_blocked_ids) < cardinality(v_dependent_ids) THEN
        FOR v_id IN SELECT unnest(v_dependent_ids) EXCEPT SELECT unnest(v_blocked_ids) ORDER BY 1 LOOP
            v_change := torc.move_dependent(v_id, (p_job_id, 'running', p_status)::torc.status_change);
            IF v_change.old_status <> v_change.new_status THEN
                v_moved := array_append(v_moved, v_change);
                v_goes_on := true;
            END IF;
        END LOOP;
    END IF;
    IF v_goes_on THEN
        v_moved := v_moved || torc.move_dependents(v_moved);
    END IF;
    RETURN v_moved;
END
$$;

-- move_dependents(); then actions that wait for the jobs that moved are triggered, and open event streams hear of them.
CREATE OR REPLACE FUNCTION torc.settle_dependents(p_changes torc.status_change[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_downstream torc.status_change[] := torc.move_dependents(p_changes);
    v_workflow_id bigint;
BEGIN
    IF v_downstream <> '{}' THEN
        v_workflow_id := (SELECT workflow_id FROM torc.job WHERE id = v_downstream[1].job_id);
        PERFORM torc.trigger_job_actions(v_workflow_id, v_downstream);
        PERFORM torc.publish_changes(v_workflow_id, v_downstream);
    END IF;
END
$$;

-- What the edges of a job say its counters are. Inlined.
CREATE OR REPLACE FUNCTION torc.count_dependencies(p_job_id bigint)
RETURNS TABLE (open_dependencies bigint, failed_dependencies bigint)
LANGUAGE sql STABLE
AS $$
    SELECT
        count(*) FILTER (WHERE NOT torc.is_complete(dependency.status)),
        count(*) FILTER (WHERE torc.is_failed(dependency.status))
    FROM torc.dependencies_of(p_job_id) AS edge
    CROSS JOIN LATERAL (SELECT status FROM torc.job WHERE id = edge.job_id OFFSET 0) AS dependency
$$;

-- What the edges say the counters of all jobs of a workflow are. Inlined; the caller disables nested loops, so that the
-- statuses of the dependencies are read once and joined by hashing (0.9 s for a million edges; one index scan for
-- each dependency took 3.5 s).
CREATE OR REPLACE FUNCTION torc.count_all_dependencies(p_workflow_id bigint)
RETURNS TABLE (job_id bigint, open_dependencies bigint, failed_dependencies bigint)
LANGUAGE sql STABLE
AS $$
    SELECT
        edge.job_id,
        count(dependency.id) FILTER (WHERE NOT torc.is_complete(dependency.status)),
        count(dependency.id) FILTER (WHERE torc.is_failed(dependency.status))
    FROM (
        SELECT waiting.id AS job_id, needed.job_id AS dependency_id
        FROM torc.job AS waiting
        LEFT JOIN LATERAL torc.dependencies_of(waiting.id) AS needed ON true
        WHERE waiting.workflow_id = p_workflow_id
        OFFSET 0
    ) AS edge
    LEFT JOIN (SELECT id, status FROM torc.job WHERE workflow_id = p_workflow_id OFFSET 0) AS dependency
        ON dependency.id = edge.dependency_id
    GROUP BY edge.job_id
$$;

-- Sets the counters of all jobs of a workflow from its edges, after a function changed many statuses or edges at once;
-- then lets jobs follow that were canceled by a dependency and have lost their cause. Blocked jobs with nothing open
-- become ready. The caller holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.recount_dependencies(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_changes torc.status_change[];
BEGIN
    UPDATE torc.job AS job
    SET
        open_dependencies = counted.open_dependencies,
        failed_dependencies = counted.failed_dependencies,
        status = CASE
            WHEN job.status = 'blocked' AND counted.open_dependencies = 0 THEN 'ready'
            ELSE job.status
        END,
        ready_at = CASE
            WHEN job.status = 'blocked' AND counted.open_dependencies = 0 THEN torc.now()
            ELSE job.ready_at
        END
    FROM torc.count_all_dependencies(p_workflow_id) AS counted
    WHERE job.workflow_id = p_workflow_id
        AND job.id = counted.job_id
        AND (job.open_dependencies, job.failed_dependencies)
        IS DISTINCT FROM (counted.open_dependencies, counted.failed_dependencies);

    WITH freed AS (
        UPDATE torc.job
        SET
            status = CASE WHEN open_dependencies > 0 THEN 'blocked' ELSE 'ready' END::torc.job_status,
            ready_at = torc.now(),  -- means nothing while the job is blocked
            canceled_by_dependency = false
        WHERE workflow_id = p_workflow_id
            AND status = 'canceled'
            AND canceled_by_dependency
            AND (open_dependencies > 0 OR failed_dependencies = 0)
        RETURNING (id, 'canceled', status)::torc.status_change AS change
    )

    SELECT array_agg(change) INTO v_changes FROM freed;
    PERFORM torc.settle_dependents(v_changes);
END
$$;
