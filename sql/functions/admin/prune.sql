-- Retention: what `torc-server prune` deletes. Nothing here waits for a lock that a claim may hold, or makes one wait
-- for more than a batch.

-- Whether nothing has happened in a workflow since p_before: it was created, and its last event and its last result
-- are, before that. The filter older_than of lists, and half of the rule of `torc-server prune`.
CREATE OR REPLACE FUNCTION torc.is_older_than(p_workflow_id bigint, p_before timestamptz)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN EXISTS (SELECT 1 FROM torc.workflow WHERE id = p_workflow_id AND "timestamp" < p_before)
        AND NOT EXISTS (
            SELECT 1
            FROM torc.event
            WHERE workflow_id = p_workflow_id AND "timestamp" >= extract(epoch FROM p_before) * 1000
        )
        AND NOT EXISTS (
            SELECT 1
            FROM (
                SELECT completion_time FROM torc.result WHERE workflow_id = p_workflow_id ORDER BY id DESC OFFSET 0
            ) AS newest_first
            WHERE torc.parse_time(completion_time) >= p_before
        );
END
$$;

-- Whether a workflow may be deleted whole: it is archived, or, unless p_archived_only, complete or canceled; no job of
-- it is pending or running, and no node active; it is older than p_before; and no other workflow uses its requirements,
-- handlers or nodes.
CREATE OR REPLACE FUNCTION torc.is_prunable(p_workflow_id bigint, p_before timestamptz, p_archived_only boolean)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
            (SELECT is_archived FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
            OR NOT p_archived_only AND torc.is_finished(p_workflow_id)
        )
        AND NOT EXISTS (
            SELECT 1 FROM torc.job WHERE workflow_id = p_workflow_id AND torc.is_active(status)
        )
        AND NOT EXISTS (SELECT 1 FROM torc.compute_node WHERE workflow_id = p_workflow_id AND is_active)
        AND torc.is_older_than(p_workflow_id, p_before)
        AND NOT torc.is_used_by_others(p_workflow_id);
END
$$;

-- Whether jobs or results of other workflows would go with a workflow, or lose their handler or node.
CREATE OR REPLACE FUNCTION torc.is_used_by_others(p_workflow_id bigint)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN EXISTS (
        SELECT torc.workflows_that_name(
            'resource_requirements_id',
            ARRAY(SELECT id FROM torc.resource_requirements WHERE workflow_id = p_workflow_id)
        )
        UNION ALL
        SELECT torc.workflows_that_name(
            'failure_handler_id', ARRAY(SELECT id FROM torc.failure_handler WHERE workflow_id = p_workflow_id)
        )
        UNION ALL
        SELECT torc.workflows_that_name(
            'compute_node_id', ARRAY(SELECT id FROM torc.compute_node WHERE workflow_id = p_workflow_id)
        )
    );
END
$$;

-- The workflows that prune_workflow() would delete, with the number of their jobs, results and events.
CREATE OR REPLACE FUNCTION torc.prunable_workflows(p_before timestamptz, p_archived_only boolean)
RETURNS TABLE (workflow_id bigint, name text, jobs bigint, results bigint, events bigint)
LANGUAGE sql STABLE
AS $$
    SELECT
        workflow.id,
        workflow.name,
        (SELECT count(*) FROM torc.job WHERE job.workflow_id = workflow.id),
        (SELECT count(*) FROM torc.result WHERE result.workflow_id = workflow.id),
        (SELECT count(*) FROM torc.event WHERE event.workflow_id = workflow.id)
    FROM torc.workflow AS workflow
    WHERE workflow."timestamp" < p_before AND torc.is_prunable(workflow.id, p_before, p_archived_only)
    ORDER BY workflow.id
$$;

-- Deletes a workflow if it still may be deleted; returns whether it did. A workflow that is locked is left for the next
-- time, because other calls would wait behind a prune that waits. Locks: as delete_workflow().
CREATE OR REPLACE FUNCTION torc.prune_workflow(p_workflow_id bigint, p_before timestamptz, p_archived_only boolean)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(p_workflow_id) THEN
        RETURN false;
    END IF;
    IF NOT torc.is_prunable(p_workflow_id, p_before, p_archived_only) THEN
        RETURN false;
    END IF;
    PERFORM torc.delete_workflow(p_workflow_id);
    RETURN true;
END
$$;

-- The workflows that have old events, or old results (p_results), with their number: what prune_events() and
-- prune_results() would delete.
CREATE OR REPLACE FUNCTION torc.prunable_rows(p_results boolean, p_before timestamptz, p_archived_only boolean)
RETURNS TABLE (workflow_id bigint, old_rows bigint)
LANGUAGE sql STABLE
AS $$
    SELECT status.workflow_id, old.count
    FROM torc.workflow_status AS status
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN p_results THEN (
                SELECT count(*)
                FROM torc.result
                WHERE result.workflow_id = status.workflow_id AND torc.is_history(result, p_before)
            )
            ELSE (
                SELECT count(*)
                FROM torc.event
                WHERE event.workflow_id = status.workflow_id AND "timestamp" < extract(epoch FROM p_before) * 1000
            )
        END AS count
        OFFSET 0
    ) AS old
    WHERE old.count > 0 AND (status.is_archived OR NOT p_archived_only)
    ORDER BY status.workflow_id
$$;

-- Deletes at most p_limit of the oldest events of a workflow before p_before; returns how many.
CREATE OR REPLACE FUNCTION torc.prune_events(p_workflow_id bigint, p_before timestamptz, p_limit bigint)
RETURNS bigint
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM torc.event WHERE id = ANY (ARRAY(
        SELECT id
        FROM torc.event
        WHERE workflow_id = p_workflow_id AND "timestamp" < extract(epoch FROM p_before) * 1000
        ORDER BY "timestamp", id
        LIMIT p_limit
    ));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

-- Whether a result is history: of an earlier run, replaced by a newer one, completed before p_before. What is left are
-- the results that lists show without all_runs, and those of the current run, which transitions read.
CREATE OR REPLACE FUNCTION torc.is_history(r torc.result, p_before timestamptz)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT NOT r.is_current
        AND r.run_id < (SELECT run_id FROM torc.workflow_status WHERE workflow_id = r.workflow_id)
        AND torc.parse_time(r.completion_time) < p_before
$$;

-- Deletes at most p_limit such results of a workflow with ids above p_after_id, and the Slurm statistics of the same
-- attempts. Returns how many, and the last id, from which the next call goes on.
CREATE OR REPLACE FUNCTION torc.prune_results(
    p_workflow_id bigint,
    p_before timestamptz,
    p_after_id bigint,
    p_limit bigint
)
RETURNS TABLE (deleted_rows bigint, last_id bigint)
LANGUAGE sql
SET enable_seqscan = off
AS $$
    WITH deleted AS (
        DELETE FROM torc.result WHERE id = ANY (ARRAY(
            SELECT id
            FROM torc.result
            WHERE workflow_id = p_workflow_id AND id > p_after_id AND torc.is_history(result, p_before)
            ORDER BY id
            LIMIT p_limit
        ))
        RETURNING id, job_id, run_id, attempt_id
    ),

    statistics AS (
        DELETE FROM torc.slurm_stats AS statistics
        USING deleted
        WHERE statistics.job_id = deleted.job_id
            AND statistics.run_id = deleted.run_id
            AND statistics.attempt_id = deleted.attempt_id
    )

    SELECT count(*), max(id) FROM deleted
$$;
