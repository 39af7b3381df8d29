-- When jobs of a workflow ran: for the dashboard's charts. Times are seconds since 1970, by the clocks of the clients
-- that sent the results.

-- Executions of a workflow: those with a current result, and those that run. p_is_plain: see time_in(). Inlined. The
-- caller has checked access, and reads times in UTC.
CREATE OR REPLACE FUNCTION torc.dashboard_executions(p_workflow_id bigint, p_is_plain boolean)
RETURNS TABLE (
    job_id bigint, node_id bigint, status torc.job_status, started double precision, ended double precision
)
LANGUAGE sql STABLE
AS $$
    SELECT known.job_id, known.compute_node_id, known.status, known.ended - known.took, known.ended
    FROM (
        SELECT
            result.job_id,
            result.compute_node_id,
            result.status,
            date_part('epoch', torc.time_in(result.completion_time, p_is_plain)) AS ended,
            least(greatest(result.exec_time_minutes, 0), 1e6) * 60 AS took
        FROM torc.result AS result
        WHERE result.workflow_id = p_workflow_id AND result.is_current
        OFFSET 0  -- otherwise each use of a time would read the text again
    ) AS known
    WHERE known.ended IS NOT NULL
    UNION ALL
    SELECT job.id, job.active_compute_node_id, job.status, date_part('epoch', job.start_time), NULL
    FROM torc.job AS job
    WHERE job.workflow_id = p_workflow_id AND job.status = 'running' AND job.start_time IS NOT NULL
$$;

-- Jobs over time: {"version", "from", "to", "done": […], "failed": […], "running": […], "ready": […]}, numbers at the
-- ends of p_steps equal spans. ready, which has to follow every dependency, is given for up to 20,000 jobs. 100,000
-- results take 0.12 s of CPU. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_progress(p_workflow_id bigint, p_steps integer, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN torc.dashboard_counts_over_time(p_workflow_id, p_steps, true);
EXCEPTION
    WHEN data_exception THEN  -- a client has sent a completion_time that is no time
        RETURN torc.dashboard_counts_over_time(p_workflow_id, p_steps, false);
END
$$;

-- Jobs over time, without the check of access; p_is_plain: see dashboard_executions(). Raises data_exception
-- if that is true.
CREATE OR REPLACE FUNCTION torc.dashboard_counts_over_time(p_workflow_id bigint, p_steps integer, p_is_plain boolean)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET timezone = 'UTC'
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_now double precision := date_part('epoch', torc.now());
BEGIN
    RETURN (
        WITH execution AS MATERIALIZED (
            SELECT started, ended, status FROM torc.dashboard_executions(p_workflow_id, p_is_plain)
        ),

        span AS MATERIALIZED (
            SELECT
                min(started) AS first,
                greatest(
                    min(started) + 1, max(ended), CASE WHEN bool_or(ended IS NULL) THEN v_now END
                ) AS last
            FROM execution
        ),

        begun AS (
            SELECT torc.step_of(execution.started, span.first, span.last, p_steps) AS step, count(*) AS jobs
            FROM execution
            CROSS JOIN span
            GROUP BY 1
        ),

        ended AS (
            SELECT
                torc.step_of(execution.ended, span.first, span.last, p_steps) AS step,
                count(*) FILTER (WHERE execution.status = 'completed') AS done,
                count(*) FILTER (WHERE execution.status <> 'completed') AS failed
            FROM execution
            CROSS JOIN span
            WHERE execution.ended IS NOT NULL
            GROUP BY 1
        )

        SELECT jsonb_build_object(
            'version', torc.dashboard_version(p_workflow_id),
            'from', span.first,
            'to', span.last,
            'done', jsonb_agg(series.done ORDER BY series.step),
            'failed', jsonb_agg(series.failed ORDER BY series.step),
            'running', jsonb_agg(series.begun - series.done - series.failed ORDER BY series.step),
            'ready', torc.dashboard_ready_jobs(p_workflow_id, p_steps, span.first, span.last, p_is_plain)
        )
        FROM (
            SELECT
                step,
                coalesce(sum(begun.jobs) OVER until_then, 0) AS begun,
                coalesce(sum(ended.done) OVER until_then, 0) AS done,
                coalesce(sum(ended.failed) OVER until_then, 0) AS failed
            FROM generate_series(1, p_steps) AS step
            LEFT JOIN begun USING (step)
            LEFT JOIN ended USING (step)
            WINDOW until_then AS (ORDER BY step)
        ) AS series
        CROSS JOIN span
        GROUP BY span.first, span.last
    );
END
$$;

-- Which of the equal spans of a time a moment is in: 1 to p_steps; what is outside is in the first or the last.
-- Inlined.
CREATE OR REPLACE FUNCTION torc.step_of(
    p_at double precision,
    p_from double precision,
    p_to double precision,
    p_steps integer
)
RETURNS integer
LANGUAGE sql IMMUTABLE
AS $$ SELECT 1 + least(greatest(floor((p_at - p_from) * p_steps / (p_to - p_from)), 0), p_steps - 1)::integer $$;

-- How many jobs were ready: from the end of their last dependency to their own start. NULL for more than 20,000 jobs.
CREATE OR REPLACE FUNCTION torc.dashboard_ready_jobs(
    p_workflow_id bigint,
    p_steps integer,
    p_from double precision,
    p_to double precision,
    p_is_plain boolean
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    IF p_from IS NULL OR (SELECT count(*) FROM torc.job WHERE workflow_id = p_workflow_id) > 20000 THEN
        RETURN NULL;
    END IF;
    RETURN (
        WITH execution AS MATERIALIZED (
            SELECT job_id, started, ended FROM torc.dashboard_executions(p_workflow_id, p_is_plain)
        ),

        -- The jobs whose dependencies all have a result, and when the last of those ended.
        waited AS (
            SELECT
                edge.job_id AS id,
                CASE WHEN count(*) = count(execution.ended) THEN max(execution.ended) END AS at
            FROM (SELECT id FROM torc.job WHERE workflow_id = p_workflow_id) AS job
            CROSS JOIN LATERAL (
                SELECT job_id, depends_on_job_id FROM torc.job_depends_on WHERE job_id = job.id OFFSET 0
            ) AS edge
            LEFT JOIN execution ON execution.job_id = edge.depends_on_job_id
            GROUP BY edge.job_id
        ),

        released AS (
            SELECT job.id, job.status, CASE WHEN waited.id IS NULL THEN p_from ELSE waited.at END AS at
            FROM (SELECT id, status FROM torc.job WHERE workflow_id = p_workflow_id) AS job
            LEFT JOIN waited ON waited.id = job.id
        ),

        change AS (
            SELECT torc.step_of(moment.at, p_from, p_to, p_steps) AS step, sum(moment.ready) AS ready
            FROM released
            LEFT JOIN execution ON execution.job_id = released.id
            CROSS JOIN LATERAL (
                VALUES (released.at, 1), (greatest(execution.started, released.at), -1)
            ) AS moment (at, ready)
            WHERE released.at IS NOT NULL AND moment.at IS NOT NULL
                AND (execution.job_id IS NOT NULL OR released.status = 'ready')
            GROUP BY 1
        )

        SELECT jsonb_agg(ready ORDER BY step)
        FROM (
            SELECT step, coalesce(sum(change.ready) OVER (ORDER BY step), 0) AS ready
            FROM generate_series(1, p_steps) AS step
            LEFT JOIN change USING (step)
        ) AS series
    );
END
$$;

-- What ran where: {"workflow", "version", "from", "to", "first", "last", "nodes": […], "total_nodes", "cpus": […]}.
-- p_from, p_to: the span, by default all of it. A node has its CPUs, when it ends, and either jobs (if all nodes
-- together have no more than 2,000 in the span) or busy: how many of its CPUs were asked for at the ends of p_steps
-- spans. cpus: the same of all nodes. p_offset: 40 nodes from there on. 100,000 results take 0.2 s of CPU. Raises
-- TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_timeline(
    p_workflow_id bigint,
    p_from double precision,
    p_to double precision,
    p_offset bigint,
    p_steps integer,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN torc.dashboard_lanes(p_workflow_id, p_from, p_to, p_offset, p_steps, true);
EXCEPTION
    WHEN data_exception THEN  -- a client has sent a completion_time that is no time
        RETURN torc.dashboard_lanes(p_workflow_id, p_from, p_to, p_offset, p_steps, false);
END
$$;

-- What ran where, without the check of access; p_is_plain: see dashboard_executions(). Raises data_exception
-- if that is true.
CREATE OR REPLACE FUNCTION torc.dashboard_lanes(
    p_workflow_id bigint,
    p_from double precision,
    p_to double precision,
    p_offset bigint,
    p_steps integer,
    p_is_plain boolean
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET timezone = 'UTC'
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_now double precision := date_part('epoch', torc.now());
BEGIN
    RETURN (
        WITH node AS MATERIALIZED (
            SELECT
                id, hostname, num_cpus, is_active, date_part('epoch', torc.parse_time(end_time)) AS ends
            FROM torc.compute_node
            WHERE workflow_id = p_workflow_id
            ORDER BY id
            LIMIT 40 OFFSET p_offset
        ),

        known AS MATERIALIZED (
            SELECT * FROM torc.dashboard_executions(p_workflow_id, p_is_plain)
        ),

        span AS MATERIALIZED (
            SELECT
                *,
                coalesce(p_from, first, v_now - 60) AS since,
                greatest(coalesce(p_to, last, v_now), coalesce(p_from, first, v_now - 60) + 1) AS until
            FROM (
                SELECT
                    min(started) AS first,
                    greatest(max(ended), CASE WHEN bool_or(ended IS NULL) THEN v_now END) AS last
                FROM known
            ) AS all_of_it
        ),

        -- The executions of one node that ask for as much, begin in one span and end in one: there are far fewer of
        -- these than executions.
        alike AS MATERIALIZED (
            SELECT
                shown.node_id,
                job.resource_requirements_id,
                torc.step_of(shown.started, span.since, span.until, p_steps) AS first,
                CASE WHEN shown.ended < span.until THEN
                    torc.step_of(shown.ended, span.since, span.until, p_steps)
                END AS last,
                count(*) AS executions
            FROM known AS shown
            INNER JOIN (
                SELECT id, resource_requirements_id FROM torc.job WHERE workflow_id = p_workflow_id
            ) AS job ON job.id = shown.job_id
            CROSS JOIN span
            WHERE shown.started < span.until AND coalesce(shown.ended, v_now) > span.since
            GROUP BY 1, 2, 3, 4
        ),

        change AS MATERIALIZED (
            SELECT moved.node_id, moved.step, sum(moved.executions * coalesce(requirement.num_cpus, 1)) AS cpus
            FROM (
                SELECT node_id, resource_requirements_id, first AS step, sum(executions) AS executions
                FROM alike
                GROUP BY 1, 2, 3
                UNION ALL
                SELECT node_id, resource_requirements_id, last, -sum(executions)
                FROM alike
                WHERE last IS NOT NULL
                GROUP BY 1, 2, 3
            ) AS moved
            LEFT JOIN (
                SELECT id, num_cpus FROM torc.resource_requirements WHERE workflow_id = p_workflow_id
            ) AS requirement ON requirement.id = moved.resource_requirements_id  -- NULL: another workflow's
            GROUP BY 1, 2
        ),

        size AS MATERIALIZED (
            SELECT coalesce(sum(executions), 0) AS executions FROM alike
        ),

        busy AS (
            SELECT node_id, jsonb_agg(cpus ORDER BY step) AS cpus
            FROM (
                SELECT
                    grid.node_id,
                    grid.step,
                    coalesce(sum(change.cpus) OVER (PARTITION BY grid.node_id ORDER BY grid.step), 0) AS cpus
                FROM (SELECT node.id AS node_id, step FROM node CROSS JOIN generate_series(1, p_steps) AS step) AS grid
                LEFT JOIN change ON change.node_id = grid.node_id AND change.step = grid.step
            ) AS series
            GROUP BY node_id
        ),

        listed AS (
            SELECT node_id, jsonb_agg(
                jsonb_build_array(job_id, name, status, started, coalesce(ended, v_now), ended IS NULL) ORDER BY started
            ) AS jobs
            FROM (
                SELECT known.*, (SELECT name FROM torc.job WHERE id = known.job_id) AS name
                FROM known
                WHERE (SELECT executions FROM size) <= 2000
                    AND started < (SELECT until FROM span)
                    AND coalesce(ended, v_now) > (SELECT since FROM span)
            ) AS named
            GROUP BY node_id
        )

        SELECT jsonb_build_object(
            'workflow', (
                SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
            ),
            'version', torc.dashboard_version(p_workflow_id),
            'from', span.since,
            'to', span.until,
            'first', span.first,
            'last', span.last,
            'executions', (SELECT executions FROM size),
            'total_nodes', (SELECT count(*) FROM torc.compute_node WHERE workflow_id = p_workflow_id),
            'total_cpus', (SELECT sum(num_cpus) FROM torc.compute_node WHERE workflow_id = p_workflow_id),
            'cpus', (
                SELECT jsonb_agg(cpus ORDER BY step)
                FROM (
                    SELECT step, coalesce(sum(of_step.cpus) OVER (ORDER BY step), 0) AS cpus
                    FROM generate_series(1, p_steps) AS step
                    LEFT JOIN (SELECT step, sum(cpus) AS cpus FROM change GROUP BY step) AS of_step USING (step)
                ) AS series
            ),
            'nodes', coalesce((
                SELECT jsonb_agg(
                    jsonb_build_object(
                        'id', node.id, 'host', node.hostname, 'cpus', node.num_cpus, 'is_active', node.is_active,
                        'ends', node.ends, 'jobs', listed.jobs, 'busy', busy.cpus
                    )
                    ORDER BY node.id
                )
                FROM node
                LEFT JOIN listed ON listed.node_id = node.id
                LEFT JOIN busy ON busy.node_id = node.id
            ), '[]')
        )
        FROM span
    );
END
$$;
