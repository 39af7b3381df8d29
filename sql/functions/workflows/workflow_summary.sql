-- The state of a workflow, as GET /workflows/{id}/status answers it: the run state of torc 0.22.2 and the summary of
-- torc 1.0.0 in one, where optional keys are left out if their value is not known. Reads all jobs and current results
-- of the workflow. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.workflow_summary(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN torc.summary_of_workflow(p_workflow_id, true);
EXCEPTION
    WHEN data_exception THEN  -- a client has sent a time that is none
        RETURN torc.summary_of_workflow(p_workflow_id, false);
END
$$;

-- The state of a workflow without the check of access; p_is_plain: see time_in(). All statements keep their plans, also
-- beside workflows of other sizes (0.1 ms instead of 0.6), and the answer is put together as text
-- (benchmarks/decisions/summaries).
CREATE OR REPLACE FUNCTION torc.summary_of_workflow(p_workflow_id bigint, p_is_plain boolean)
RETURNS json
LANGUAGE plpgsql STABLE
SET timezone = 'UTC'
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
AS $$
DECLARE
    v_jobs record;
    v_results record;
    v_nodes record;
    v_waiting jsonb := '{"runtime_blocked_ready_jobs": 0}';
BEGIN
    SELECT
        string_agg(concat('"', status, '":', jobs), ',' ORDER BY status) AS by_status,
        sum(jobs) AS total,
        bool_or(jobs > 0 AND torc.is_open(status)) AS has_open,
        bool_or(jobs > 0 AND status = 'ready') AS has_ready
    INTO v_jobs
    FROM torc.jobs_by_status(p_workflow_id);
    SELECT * INTO v_results FROM torc.summary_of_results(p_workflow_id, p_is_plain);
    SELECT * INTO v_nodes FROM torc.summary_of_nodes(p_workflow_id, p_is_plain);
    IF v_jobs.has_ready THEN
        v_waiting := torc.summary_of_waiting_jobs(p_workflow_id, v_nodes.seconds_without_labels);
    END IF;
    RETURN (
        SELECT concat(
            '{"id":', workflow.id,
            ',"run_id":', status.run_id,
            ',"is_canceled":' || status.is_canceled,
            ',"is_archived":' || status.is_archived,
            ',"has_detected_need_to_run_completion_script":' || status.has_detected_need_to_run_completion_script,
            ',"workflow_id":', workflow.id,
            ',"workflow_name":', to_json(workflow.name),
            ',"workflow_user":', to_json(workflow."user"),
            ',"is_complete":' || (status.is_canceled OR NOT v_jobs.has_open),  -- as is_finished()
            ',"jobs_by_status":{', v_jobs.by_status,
            '},"total_jobs":', v_jobs.total,
            ',"total_exec_time_minutes":', v_results.minutes,
            ',"walltime_seconds":' || v_results.walltime_s,
            ',"active_compute_nodes":', v_nodes.active,
            ',"max_allocation_remaining_seconds":' || v_nodes.seconds,
            ',"pending_scheduled_nodes":', scheduled.pending,
            ',"active_scheduled_nodes":', scheduled.active,
            ',', substr(v_waiting::text, 2)
        )
        FROM torc.workflow AS workflow
        CROSS JOIN LATERAL (SELECT * FROM torc.workflow_status WHERE workflow_id = workflow.id OFFSET 0) AS status
        CROSS JOIN LATERAL (
            SELECT
                count(*) FILTER (WHERE node.status = 'pending') AS pending,
                count(*) FILTER (WHERE node.status = 'active') AS active
            FROM torc.scheduled_compute_node AS node
            WHERE node.workflow_id = workflow.id
            OFFSET 0
        ) AS scheduled
        WHERE workflow.id = p_workflow_id
    );
END
$$;

-- Minutes that the current results took, and seconds from the start of the first to the end of the last (NULL: no
-- result says when). p_is_plain: see time_in().
CREATE OR REPLACE FUNCTION torc.summary_of_results(
    p_workflow_id bigint,
    p_is_plain boolean,
    OUT minutes double precision,
    OUT walltime_s double precision
)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    SELECT coalesce(sum(known.took), 0), max(known.ended) - min(known.ended - known.took * 60)
    INTO minutes, walltime_s
    FROM (
        SELECT
            date_part('epoch', torc.time_in(completion_time, p_is_plain)) AS ended,
            least(greatest(exec_time_minutes, -1e12), 1e12) AS took  -- clients may send 1e308: sums would overflow
        FROM torc.result
        WHERE workflow_id = p_workflow_id AND is_current
        OFFSET 0  -- otherwise each use of a time would read the text again
    ) AS known;
END
$$;

-- How many compute nodes are active, and for how many seconds the last of them will be; the same seconds of those
-- without labels, NULL unless each of these says when it ends. p_is_plain: see time_in().
CREATE OR REPLACE FUNCTION torc.summary_of_nodes(
    p_workflow_id bigint,
    p_is_plain boolean,
    OUT active bigint,
    OUT seconds bigint,
    OUT seconds_without_labels bigint
)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    SELECT
        count(*),
        torc.seconds_until(max(node.ends)),
        CASE WHEN bool_and(node.has_end) FILTER (WHERE node.labels IS NULL) THEN
            torc.seconds_until(max(node.ends) FILTER (WHERE node.labels IS NULL))
        END
    INTO active, seconds, seconds_without_labels
    FROM (
        SELECT labels, end_time IS NOT NULL AS has_end, torc.time_in(end_time, p_is_plain) AS ends
        FROM torc.compute_node
        WHERE workflow_id = p_workflow_id AND is_active
        OFFSET 0
    ) AS node;
END
$$;

-- Ready jobs that no active node will take: without labels because they run longer than all allocations (p_remaining_s,
-- NULL: those do not end); with labels because no node has them all. Keys that say nothing are left out.
CREATE OR REPLACE FUNCTION torc.summary_of_waiting_jobs(p_workflow_id bigint, p_remaining_s bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    c_grace_seconds CONSTANT bigint := 120;
    v_blocked bigint := 0;
    v_longest bigint;
BEGIN
    IF p_remaining_s IS NOT NULL THEN
        SELECT
            coalesce(sum(wanted.jobs) FILTER (WHERE wanted.runtime_s > p_remaining_s + c_grace_seconds), 0),
            max(wanted.runtime_s)
        INTO v_blocked, v_longest
        FROM (
            SELECT
                jobs,
                (SELECT runtime_s FROM torc.resource_requirements WHERE id = resource_requirements_id) AS runtime_s
            FROM (
                SELECT resource_requirements_id, count(*) AS jobs
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
                GROUP BY resource_requirements_id
            ) AS grouped
            OFFSET 0
        ) AS wanted;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'runtime_blocked_ready_jobs', v_blocked,
        'longest_ready_runtime_seconds', v_longest,
        'unserved_ready_labels', (
            SELECT jsonb_object_agg(labels, jobs)
            FROM (
                SELECT labels, count(*) AS jobs
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels > ''
                GROUP BY labels
            ) AS labeled
            WHERE NOT EXISTS (
                SELECT 1
                FROM torc.compute_node
                WHERE workflow_id = p_workflow_id
                    AND is_active
                    AND labels @> string_to_array(labeled.labels, ',')
            )
        )
    ));
END
$$;
