-- The summary of a workflow by eight functions, four of them in a language that does not keep plans; each time that a
-- client has sent is read in a subtransaction; jobs are sorted to be counted, ready ones counted twice.
DROP FUNCTION
    torc.workflow_summary, torc.summary_of_workflow, torc.summary_of_results, torc.summary_of_nodes,
    torc.summary_of_waiting_jobs;

-- Seconds from now to a time, not below 0.
CREATE OR REPLACE FUNCTION torc.seconds_until(p_time timestamptz)
RETURNS bigint
LANGUAGE sql STABLE STRICT
AS $$
    SELECT greatest(trunc(extract(epoch FROM p_time - torc.now())), 0)::bigint
$$;

-- The time that a text of a client says, taken as UTC where it names no zone; NULL if it cannot be read.
CREATE OR REPLACE FUNCTION torc.parse_time(p_text text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET timezone = 'UTC'
AS $$
BEGIN
    IF p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN NULL;
    END IF;
    RETURN p_text::timestamptz;
EXCEPTION
    WHEN data_exception THEN
        RETURN NULL;
END
$$;

-- The state of a workflow, as GET /workflows/{id}/status answers it: the run state of torc 0.22.2 and the summary of
-- torc 1.0.0 in one, where optional keys are left out if their value is not known. Reads all jobs and current results
-- of the workflow. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.workflow_summary(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    v_counts jsonb;
    v_answer jsonb;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    v_counts := (
        SELECT jsonb_object_agg(word, coalesce(counted.jobs, 0))
        FROM unnest(enum_range(NULL::torc.job_status)) AS word
        LEFT JOIN (
            SELECT status, count(*) AS jobs FROM torc.job WHERE workflow_id = p_workflow_id GROUP BY status
        ) AS counted ON counted.status = word
    );
    v_answer := torc.workflow_status_json(p_workflow_id)::jsonb || (
        SELECT jsonb_build_object(
            'workflow_id', id,
            'workflow_name', name,
            'workflow_user', "user",
            'is_complete', torc.is_finished(p_workflow_id),
            'jobs_by_status', v_counts,
            'total_jobs', (SELECT sum(value::bigint) FROM jsonb_each_text(v_counts))
        )
        FROM torc.workflow
        WHERE id = p_workflow_id
    );
    RETURN jsonb_strip_nulls(
        v_answer
        || torc.summary_of_results(p_workflow_id)
        || torc.summary_of_nodes(p_workflow_id)
        || torc.summary_of_waiting_jobs(p_workflow_id, (v_counts ->> 'ready')::bigint)
    );
END
$$;

-- Minutes that the current results took, and seconds from the start of the first to the end of the last.
CREATE OR REPLACE FUNCTION torc.summary_of_results(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'total_exec_time_minutes', coalesce(sum(known.minutes), 0),
        'walltime_seconds', max(known.ended_s) - min(known.ended_s - known.minutes * 60)
    )
    FROM torc.result
    CROSS JOIN LATERAL (
        SELECT
            extract(epoch FROM torc.parse_time(completion_time))::double precision AS ended_s,
            least(greatest(exec_time_minutes, -1e12), 1e12) AS minutes  -- clients may send 1e308: sums would overflow
    ) AS known
    WHERE workflow_id = p_workflow_id AND is_current
$$;

-- What the summary says of compute nodes.
CREATE OR REPLACE FUNCTION torc.summary_of_nodes(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'active_compute_nodes', count(*),
        'max_allocation_remaining_seconds', torc.seconds_until(max(torc.parse_time(end_time))),
        'pending_scheduled_nodes', (
            SELECT count(*)
            FROM torc.scheduled_compute_node
            WHERE workflow_id = p_workflow_id AND status = 'pending'
        ),
        'active_scheduled_nodes', (
            SELECT count(*)
            FROM torc.scheduled_compute_node
            WHERE workflow_id = p_workflow_id AND status = 'active'
        )
    )
    FROM torc.compute_node
    WHERE workflow_id = p_workflow_id AND is_active
$$;

-- Ready jobs that no active node will take: without labels because they run longer than all allocations, if those end;
-- with labels because no node has them all.
CREATE OR REPLACE FUNCTION torc.summary_of_waiting_jobs(p_workflow_id bigint, p_ready_jobs bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    c_grace_seconds CONSTANT bigint := 120;
    v_remaining bigint;
BEGIN
    IF p_ready_jobs = 0 THEN
        RETURN '{"runtime_blocked_ready_jobs": 0}';
    END IF;
    SELECT torc.seconds_until(max(torc.parse_time(end_time))) INTO v_remaining
    FROM torc.compute_node
    WHERE workflow_id = p_workflow_id AND is_active AND labels IS NULL
    HAVING bool_and(end_time IS NOT NULL);
    RETURN (
        WITH ready AS MATERIALIZED (
            SELECT
                labels,
                jobs,
                (SELECT runtime_s FROM torc.resource_requirements WHERE id = resource_requirements_id) AS runtime_s
            FROM (
                SELECT labels, resource_requirements_id, count(*) AS jobs
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready'
                GROUP BY labels, resource_requirements_id
            ) AS grouped
        )

        SELECT jsonb_build_object(
            'runtime_blocked_ready_jobs',
            coalesce(sum(jobs) FILTER (WHERE labels = '' AND runtime_s > v_remaining + c_grace_seconds), 0),
            'longest_ready_runtime_seconds',
            max(runtime_s) FILTER (WHERE labels = '' AND v_remaining IS NOT NULL),
            'unserved_ready_labels', (
                SELECT jsonb_object_agg(labels, jobs)
                FROM (SELECT labels, sum(jobs) AS jobs FROM ready WHERE labels <> '' GROUP BY labels) AS labeled
                WHERE NOT EXISTS (
                    SELECT 1
                    FROM torc.compute_node
                    WHERE workflow_id = p_workflow_id
                        AND is_active
                        AND labels @> string_to_array(labeled.labels, ',')
                )
            )
        )
        FROM ready
    );
END
$$;
