-- The dashboard's page of a job.

-- All that the page says: the job, its workflow, why it is where it is, its attempts, relations and history. Raises
-- TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_job(p_job_id bigint, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_workflow_id bigint := torc.authorize_workflow(torc.workflow_of_job(p_job_id), p_caller);
    v_job torc.job;
BEGIN
    SELECT * INTO v_job FROM torc.job WHERE id = p_job_id;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'id', v_job.id,
        'name', v_job.name,
        'command', v_job.command,
        'invocation_script', v_job.invocation_script,
        'status', v_job.status,
        'canceled_by_dependency', v_job.canceled_by_dependency,
        'cancel_on_blocking_job_failure', v_job.cancel_on_blocking_job_failure,
        'supports_termination', v_job.supports_termination,
        'priority', v_job.priority,
        'attempt_id', v_job.attempt_id,
        'labels', v_job.labels,
        'scheduler_id', v_job.scheduler_id,
        'origin', v_job.origin,
        'failure_handler', (SELECT name FROM torc.failure_handler WHERE id = v_job.failure_handler_id),
        'running_since', CASE WHEN v_job.status = 'running' THEN extract(epoch FROM v_job.start_time) END,
        'node', (
            SELECT jsonb_build_object('id', id, 'host', hostname, 'is_active', is_active)
            FROM torc.compute_node
            WHERE id = v_job.active_compute_node_id
        ),
        'requirement', (
            SELECT to_jsonb(requirement) FROM torc.resource_requirements AS requirement
            WHERE id = v_job.resource_requirements_id
        ),
        'workflow', (
            SELECT jsonb_build_object(
                'id', workflow.id, 'name', workflow.name, 'run_id', status.run_id, 'is_canceled', status.is_canceled
            )
            FROM torc.workflow AS workflow
            INNER JOIN torc.workflow_status AS status ON status.workflow_id = workflow.id
            WHERE workflow.id = v_workflow_id
        ),
        'why', torc.dashboard_why(v_job),
        'dependencies', torc.dashboard_neighbours(ARRAY(
            SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = p_job_id
        )),
        'dependents', torc.dashboard_neighbours(ARRAY(
            SELECT job_id FROM torc.job_depends_on WHERE depends_on_job_id = p_job_id
        )),
        'inputs', torc.dashboard_links(p_job_id, true),
        'outputs', torc.dashboard_links(p_job_id, false)
    )) || jsonb_build_object(
        'env', v_job.env,
        'attempts', torc.dashboard_attempts(p_job_id),
        'version', torc.dashboard_version(v_workflow_id),
        'history', torc.dashboard_history(v_workflow_id, p_job_id)
    );
END
$$;

-- Why a job is in its status: {"kind": …} and what belongs to it.
--   waits: "open", how many dependencies are not complete, and "jobs", the first ten of them;
--   cause: "chain", from the dependency that canceled the job up to the job that failed;
--   queue: "before", how many ready jobs are claimed first, and "nodes", how many nodes are active;
--   claimed, new, canceled, ended, running, disabled, pending_failed: nothing more.
CREATE OR REPLACE FUNCTION torc.dashboard_why(p_job torc.job)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN CASE
        WHEN p_job.status = 'blocked' THEN torc.dashboard_waits(p_job.id)
        WHEN p_job.canceled_by_dependency THEN
            jsonb_build_object('kind', 'cause', 'chain', torc.dashboard_cause(p_job.id))
        WHEN p_job.status = 'ready' THEN jsonb_build_object(
            'kind', 'queue',
            'before', (
                SELECT count(*)
                FROM torc.job
                WHERE workflow_id = p_job.workflow_id AND status = 'ready' AND labels = p_job.labels
                    AND (priority > p_job.priority OR priority = p_job.priority AND id < p_job.id)
            ),
            'nodes', torc.dashboard_active_nodes(p_job.workflow_id)
        )
        ELSE jsonb_build_object('kind', CASE p_job.status
            WHEN 'pending' THEN 'claimed'
            WHEN 'uninitialized' THEN 'new'
            WHEN 'completed' THEN 'ended'
            WHEN 'failed' THEN 'ended'
            WHEN 'terminated' THEN 'ended'
            ELSE p_job.status::text
        END)
    END;
END
$$;

-- Why a job is blocked: the number of its open dependencies, and the first ten of them.
CREATE OR REPLACE FUNCTION torc.dashboard_waits(p_job_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'kind', 'waits',
        'open', count(*),
        'jobs', torc.dashboard_jobs_of((array_agg(open.id ORDER BY open.id))[1:10])
    )
    FROM (
        SELECT job.id
        FROM torc.dependencies_of(p_job_id) AS edge
        CROSS JOIN LATERAL (SELECT id, status FROM torc.job WHERE id = edge.job_id OFFSET 0) AS job
        WHERE NOT torc.is_complete(job.status)
    ) AS open
$$;

-- The way from a job that was canceled by dependency to the cause: at each step the dependency with the lowest id among
-- those that failed, or else were canceled. Up to 100 jobs.
CREATE OR REPLACE FUNCTION torc.dashboard_cause(p_job_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_chain bigint[] := '{}';
    v_next record;
    v_id bigint := p_job_id;
BEGIN
    WHILE v_id IS NOT NULL AND cardinality(v_chain) < 100 LOOP
        SELECT job.id, job.canceled_by_dependency INTO v_next
        FROM torc.dependencies_of(v_id) AS edge
        CROSS JOIN LATERAL (
            SELECT id, status, canceled_by_dependency FROM torc.job WHERE id = edge.job_id OFFSET 0
        ) AS job
        WHERE torc.is_failed(job.status)
        ORDER BY job.canceled_by_dependency, job.status, job.id
        LIMIT 1;
        EXIT WHEN NOT FOUND;
        v_chain := v_chain || v_next.id;
        v_id := CASE WHEN v_next.canceled_by_dependency THEN v_next.id END;
    END LOOP;
    RETURN torc.dashboard_jobs_of(v_chain);
END
$$;

-- Jobs with name, status and return code of the current result, in the order given.
CREATE OR REPLACE FUNCTION torc.dashboard_jobs_of(p_ids bigint[])
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'id', job.id,
        'name', job.name,
        'status', job.status,
        'return_code', (SELECT return_code FROM torc.result WHERE job_id = job.id AND is_current)
    )) ORDER BY given.place), '[]')
    FROM unnest(p_ids) WITH ORDINALITY AS given (id, place)
    CROSS JOIN LATERAL (SELECT id, name, status FROM torc.job WHERE id = given.id OFFSET 0) AS job
$$;

-- {"count": …, "counts": by status, "jobs": the first 50}.
CREATE OR REPLACE FUNCTION torc.dashboard_neighbours(p_ids bigint[])
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'count', cardinality(p_ids),
        'counts', (
            SELECT coalesce(jsonb_object_agg(status, jobs), '{}')
            FROM (
                SELECT job.status, count(*) AS jobs
                FROM unnest(p_ids) AS given (id)
                CROSS JOIN LATERAL (SELECT status FROM torc.job WHERE id = given.id OFFSET 0) AS job
                GROUP BY job.status
            ) AS counted
        ),
        'jobs', torc.dashboard_jobs_of(ARRAY(SELECT unnest(p_ids) ORDER BY 1 LIMIT 50))
    )
$$;

-- Files and user data that a job reads, or writes: the first 50 of each.
CREATE OR REPLACE FUNCTION torc.dashboard_links(p_job_id bigint, p_reads boolean)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'files', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', file.id, 'name', file.name, 'path', file.path) ORDER BY file.id)
            FROM (
                SELECT file_id FROM torc.job_input_file WHERE p_reads AND job_id = p_job_id
                UNION ALL
                SELECT file_id FROM torc.job_output_file WHERE NOT p_reads AND job_id = p_job_id
                ORDER BY file_id
                LIMIT 50
            ) AS link
            CROSS JOIN LATERAL (SELECT * FROM torc.file WHERE id = link.file_id OFFSET 0) AS file
        ), '[]'),
        'user_data', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', user_data.id, 'name', user_data.name, 'has_data', user_data.data IS NOT NULL
            ) ORDER BY user_data.id)
            FROM (
                SELECT user_data_id FROM torc.job_input_user_data WHERE p_reads AND job_id = p_job_id
                UNION ALL
                SELECT user_data_id FROM torc.job_output_user_data WHERE NOT p_reads AND job_id = p_job_id
                ORDER BY user_data_id
                LIMIT 50
            ) AS link
            CROSS JOIN LATERAL (SELECT * FROM torc.user_data WHERE id = link.user_data_id OFFSET 0) AS user_data
        ), '[]')
    )
$$;

-- The newest 50 results of a job; stdout and stderr by their last 20,000 characters.
CREATE OR REPLACE FUNCTION torc.dashboard_attempts(p_job_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'run_id', result.run_id,
        'attempt_id', result.attempt_id,
        'status', result.status,
        'return_code', result.return_code,
        'is_current', result.is_current,
        'ended', extract(epoch FROM torc.parse_time(result.completion_time)),
        'completion_time', result.completion_time,
        'exec_time_s', result.exec_time_minutes * 60,
        'node_id', result.compute_node_id,
        'host', (SELECT hostname FROM torc.compute_node WHERE id = result.compute_node_id),
        'peak_memory_bytes', result.peak_memory_bytes,
        'avg_memory_bytes', result.avg_memory_bytes,
        'peak_cpu_percent', result.peak_cpu_percent,
        'avg_cpu_percent', result.avg_cpu_percent,
        'stdout', right(result.stdout, 20000),
        'stdout_length', length(result.stdout),
        'stderr', right(result.stderr, 20000),
        'stderr_length', length(result.stderr)
    )) ORDER BY result.run_id DESC, result.attempt_id DESC, result.id DESC), '[]')
    FROM (
        SELECT *
        FROM torc.result
        WHERE job_id = p_job_id
        ORDER BY run_id DESC, attempt_id DESC
        LIMIT 50
    ) AS result
$$;

-- What the newest 5,000 events of the workflow say about a job: the newest 50 of those.
CREATE OR REPLACE FUNCTION torc.dashboard_history(p_workflow_id bigint, p_job_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'at', "timestamp" / 1000.0,
        'type', coalesce(data ->> 'category', data ->> 'event_type', data ->> 'type', data ->> 'action'),
        'text', left(coalesce(data ->> 'message', data::text), 300)
    ) ORDER BY id DESC), '[]')
    FROM (
        SELECT *
        FROM (SELECT * FROM torc.event WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 5000) AS newest
        WHERE data ->> 'job_id' = p_job_id::text
        ORDER BY id DESC
        LIMIT 50
    ) AS event
$$;
