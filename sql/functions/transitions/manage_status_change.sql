-- Sets a job to any status that is not complete; p_run_id NULL means the workflow's current run. The same status
-- again changes nothing, whatever the run. From complete to uninitialized, direct dependents that are
-- completed or failed become uninitialized too. In a later run than that of its last retry the job is at attempt 1
-- again.
-- Locks: workflow shared, the job's row, dependents by id. Raises TC404, TC403, TC409 (to blocked with nothing open),
-- TC422 (completion status, run).
CREATE OR REPLACE FUNCTION torc.manage_status_change(
    p_job_id bigint,
    p_status torc.job_status,
    p_run_id bigint DEFAULT NULL,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job;
    v_changes torc.status_change[];
BEGIN
    IF torc.is_complete(p_status) THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'Cannot set completion status ''%s'' via manage_status_change. Use complete_job API instead.', p_status
            ),
            jsonb_build_object('field', 'status', 'value', p_status)
        );
    END IF;
    v_job := torc.lock_job(p_job_id, p_caller);
    IF v_job.status = p_status THEN
        RETURN torc.job_with_relations_json(p_job_id);
    END IF;
    IF p_run_id IS NOT NULL THEN
        PERFORM torc.check_run_id(v_job.workflow_id, p_run_id);
    END IF;
    IF p_status = 'blocked' AND v_job.open_dependencies = 0 THEN
        PERFORM torc.fail('TC409', format('Job %s cannot be blocked: it waits for no dependency', p_job_id));
    END IF;
    v_changes := ARRAY[(p_job_id, v_job.status, p_status)::torc.status_change];
    UPDATE torc.job
    SET
        status = p_status,
        canceled_by_dependency = false,
        ready_at = CASE WHEN p_status = 'ready' THEN torc.now() ELSE ready_at END
    WHERE id = p_job_id;
    IF v_job.attempt_run_id IS NOT NULL THEN
        PERFORM torc.restart_attempts(v_job.workflow_id, ARRAY[p_job_id]);
    END IF;
    IF torc.is_complete(v_job.status) AND p_status = 'uninitialized' THEN
        v_changes := v_changes || torc.uninitialize_finished_dependents(p_job_id);
    END IF;
    IF torc.is_waiting(p_status) THEN
        PERFORM torc.publish_changes(v_job.workflow_id, v_changes);
    END IF;
    PERFORM torc.settle_dependents(v_changes);
    RETURN torc.job_with_relations_json(p_job_id);
END
$$;

-- Direct dependents that are completed or failed become uninitialized; returns the changes. Locks them by id.
CREATE OR REPLACE FUNCTION torc.uninitialize_finished_dependents(p_job_id bigint)
RETURNS torc.status_change[]
LANGUAGE plpgsql
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_changes torc.status_change[];
BEGIN
    PERFORM 1
    FROM torc.job
    WHERE id = ANY (ARRAY(SELECT job_id FROM torc.dependents_of(p_job_id)))
    ORDER BY id
    FOR UPDATE;
    WITH finished AS (
        SELECT id, status
        FROM torc.job
        WHERE id = ANY (ARRAY(SELECT job_id FROM torc.dependents_of(p_job_id))) AND torc.ended_by_itself(status)
    ),

    moved AS (
        UPDATE torc.job
        SET status = 'uninitialized', active_compute_node_id = NULL
        FROM finished
        WHERE job.id = finished.id AND job.id = ANY (ARRAY(SELECT id FROM finished))
        RETURNING (job.id, finished.status, job.status)::torc.status_change AS change
    )

    SELECT coalesce(array_agg(change), '{}') INTO v_changes FROM moved;
    RETURN v_changes;
END
$$;
