-- The dashboard's table of jobs.

-- The jobs of a workflow that a filter leaves. p_filter holds any of status, name (a part of it), label, node (id of
-- the node that runs the job, or gave its current result), requirement (id), attempt (at least that), return_code;
-- absent keys filter nothing. The caller has checked access. Inlined: as rows of a function, 100,000 jobs took 0.4 s
-- more.
CREATE OR REPLACE FUNCTION torc.dashboard_matching_jobs(p_workflow_id bigint, p_filter jsonb)
RETURNS SETOF torc.job
LANGUAGE sql STABLE
AS $$
    SELECT job.*
    FROM torc.job AS job
    WHERE workflow_id = p_workflow_id
        AND (p_filter ->> 'status' IS NULL OR status = (p_filter ->> 'status')::torc.job_status)
        AND (p_filter ->> 'name' IS NULL OR torc.contains_text(name, p_filter ->> 'name'))
        AND (p_filter ->> 'label' IS NULL OR p_filter ->> 'label' = ANY (string_to_array(labels, ',')))
        AND (
            p_filter ->> 'requirement' IS NULL
            OR resource_requirements_id = (p_filter ->> 'requirement')::bigint
        )
        AND (p_filter ->> 'attempt' IS NULL OR attempt_id >= (p_filter ->> 'attempt')::bigint)
        AND (
            p_filter ->> 'node' IS NULL
            OR active_compute_node_id = (p_filter ->> 'node')::bigint
            OR EXISTS (
                SELECT 1
                FROM torc.result
                WHERE job_id = job.id AND is_current AND compute_node_id = (p_filter ->> 'node')::bigint
                OFFSET 0
            )
        )
        AND (
            p_filter ->> 'return_code' IS NULL
            OR EXISTS (
                SELECT 1
                FROM torc.result
                WHERE job_id = job.id AND is_current AND return_code = (p_filter ->> 'return_code')::bigint
                OFFSET 0
            )
        )
$$;

-- One page: {"workflow": …, "version": …, "total": …, "jobs": […], "requirements": […], "nodes": […]}; p_filter as
-- above, with sort (id, name, status, priority, attempt), descending, offset and limit. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_jobs(p_workflow_id bigint, p_filter jsonb, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_limit bigint := p_filter ->> 'limit';
    v_offset bigint := p_filter ->> 'offset';
    v_sort text := p_filter ->> 'sort';
    v_sign integer := CASE WHEN (p_filter ->> 'descending')::boolean THEN -1 ELSE 1 END;
    v_filter jsonb := p_filter - '{sort,descending,limit,offset}'::text[];
    v_counts jsonb;
    v_ids bigint[];
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    v_counts := torc.dashboard_counts(p_workflow_id);
    IF v_sort = 'id' AND v_sign = 1 THEN  -- in the order of an index: nothing is sorted, and the rest is not read
        v_ids := ARRAY(
            SELECT id
            FROM torc.dashboard_matching_jobs(p_workflow_id, v_filter)
            ORDER BY workflow_id, id
            LIMIT v_limit OFFSET v_offset
        );
    ELSE
        v_ids := ARRAY(
            SELECT id
            FROM torc.dashboard_matching_jobs(p_workflow_id, v_filter)
            ORDER BY
                v_sign * CASE v_sort
                    WHEN 'priority' THEN priority
                    WHEN 'attempt' THEN attempt_id
                    WHEN 'status' THEN array_position(enum_range(NULL::torc.job_status), status)
                END,
                CASE WHEN v_sort = 'name' AND v_sign = 1 THEN name END,
                CASE WHEN v_sort = 'name' AND v_sign = -1 THEN name END DESC,
                v_sign * id
            LIMIT v_limit OFFSET v_offset
        );
    END IF;
    RETURN jsonb_build_object(
        'workflow', (
            SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
        ),
        'counts', v_counts,
        'version', torc.dashboard_version(p_workflow_id, v_counts),
        'total', CASE
            WHEN v_filter = '{}' THEN (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(v_counts))
            ELSE (SELECT count(*) FROM torc.dashboard_matching_jobs(p_workflow_id, v_filter))
        END,
        'jobs', coalesce((
            SELECT jsonb_agg(torc.dashboard_job_row(id) ORDER BY place)
            FROM unnest(v_ids) WITH ORDINALITY AS shown (id, place)
        ), '[]'),
        'requirements', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', id, 'name', name) ORDER BY id)
            FROM (
                SELECT id, name FROM torc.resource_requirements WHERE workflow_id = p_workflow_id ORDER BY id LIMIT 200
            ) AS requirement
        ), '[]'),
        'nodes', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', id, 'host', hostname) ORDER BY id DESC)
            FROM (
                SELECT id, hostname FROM torc.compute_node WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 200
            ) AS node
        ), '[]')
    );
END
$$;

-- One job of the table.
CREATE OR REPLACE FUNCTION torc.dashboard_job_row(p_job_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT jsonb_strip_nulls(jsonb_build_object(
            'id', job.id,
            'name', job.name,
            'status', job.status,
            'priority', job.priority,
            'attempt', job.attempt_id,
            'labels', job.labels,
            'command', left(job.command, 300),
            'requirement', requirement.name,
            'waits_for', CASE WHEN job.status = 'blocked' THEN job.open_dependencies END,
            'node_id', node.id,
            'host', node.hostname,
            'running_since', CASE WHEN job.status = 'running' THEN extract(epoch FROM job.start_time) END,
            'return_code', result.return_code,
            'exec_time_s', result.exec_time_minutes * 60,
            'ended', extract(epoch FROM torc.parse_time(result.completion_time)),
            'peak_memory_bytes', result.peak_memory_bytes,
            'memory_bytes', requirement.memory_bytes,
            'peak_cpu_percent', result.peak_cpu_percent
        ))
        FROM torc.job AS job
        LEFT JOIN LATERAL (SELECT * FROM torc.result WHERE job_id = job.id AND is_current OFFSET 0) AS result ON true
        LEFT JOIN LATERAL (
            SELECT id, hostname
            FROM torc.compute_node
            WHERE id = coalesce(job.active_compute_node_id, result.compute_node_id)
            OFFSET 0
        ) AS node ON true
        LEFT JOIN LATERAL (
            SELECT name, memory_bytes FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
        ) AS requirement ON true
        WHERE job.id = p_job_id
    );
END
$$;

-- All matching jobs as lines of CSV (RFC 4180), without the heading, by id. A text that a spreadsheet would take for a
-- formula begins with an apostrophe. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_jobs_csv(p_workflow_id bigint, p_filter jsonb, p_caller torc.caller)
RETURNS SETOF text
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN QUERY
    SELECT concat_ws(
        ',', job.id, torc.csv_text(job.name), job.status, job.priority, job.attempt_id,
        torc.csv_text(requirement.name), torc.csv_text(node.hostname), coalesce(result.return_code::text, ''),
        coalesce((result.exec_time_minutes * 60)::text, ''), torc.csv_text(coalesce(result.completion_time, '')),
        coalesce(result.peak_memory_bytes::text, ''), coalesce(result.peak_cpu_percent::text, ''),
        torc.csv_text(job.command)
    ) || E'\r\n'
    FROM torc.dashboard_matching_jobs(p_workflow_id, p_filter) AS job
    LEFT JOIN LATERAL (SELECT * FROM torc.result WHERE job_id = job.id AND is_current OFFSET 0) AS result ON true
    LEFT JOIN LATERAL (
        SELECT hostname
        FROM torc.compute_node
        WHERE id = coalesce(job.active_compute_node_id, result.compute_node_id)
        OFFSET 0
    ) AS node ON true
    LEFT JOIN LATERAL (
        SELECT name FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
    ) AS requirement ON true
    ORDER BY job.id;
END
$$;

-- A text as a quoted CSV field. A spreadsheet must not take it for a formula, so that a leading =, +, -, @, tab or
-- return gets an apostrophe.
CREATE OR REPLACE FUNCTION torc.csv_text(p_text text)
RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT '"' || CASE WHEN p_text ~ '^[=+@\t\r-]' THEN '''' ELSE '' END
        || replace(coalesce(p_text, ''), '"', '""') || '"'
$$;
