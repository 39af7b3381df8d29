-- When jobs of a workflow ran: for the dashboard's charts. Times are seconds since 1970, by the clocks of the clients
-- that sent the results.

-- Executions of a workflow: those with a current result, and those that run. The caller has checked access.
CREATE OR REPLACE FUNCTION torc.dashboard_executions(p_workflow_id bigint)
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
            extract(epoch FROM torc.parse_time(result.completion_time))::double precision AS ended,
            least(greatest(result.exec_time_minutes, 0), 1e6) * 60 AS took
        FROM torc.result AS result
        WHERE result.workflow_id = p_workflow_id AND result.is_current
    ) AS known
    WHERE known.ended IS NOT NULL
    UNION ALL
    SELECT job.id, job.active_compute_node_id, job.status, extract(epoch FROM job.start_time)::double precision, NULL
    FROM torc.job AS job
    WHERE job.workflow_id = p_workflow_id AND job.status = 'running' AND job.start_time IS NOT NULL
$$;

-- Jobs over time: {"from", "to", "done": [...], "failed": […], "running": […], "ready": […]}, numbers at the ends of
-- p_steps equal spans. ready, which has to follow every dependency, is given for up to 20,000 jobs. Raises TC404,
-- TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_progress(p_workflow_id bigint, p_steps integer, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_now double precision := extract(epoch FROM clock_timestamp());
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        WITH execution AS MATERIALIZED (
            SELECT * FROM torc.dashboard_executions(p_workflow_id)
        ),

        span AS MATERIALIZED (
            SELECT
                min(started) AS first,
                greatest(
                    min(started) + 1, max(ended), CASE WHEN bool_or(ended IS NULL) THEN v_now END
                ) AS last
            FROM execution
        ),

        change AS (
            SELECT
                least(greatest(width_bucket(moment.at, span.first, span.last, p_steps), 1), p_steps) AS step,
                sum(moment.done) AS done,
                sum(moment.failed) AS failed,
                sum(moment.running) AS running
            FROM (
                SELECT started AS at, 0 AS done, 0 AS failed, 1 AS running FROM execution
                UNION ALL
                SELECT ended, (status = 'completed')::integer, (status <> 'completed')::integer, -1
                FROM execution
                WHERE ended IS NOT NULL
            ) AS moment
            CROSS JOIN span
            GROUP BY 1
        )

        SELECT jsonb_build_object(
            'from', span.first,
            'to', span.last,
            'done', jsonb_agg(series.done ORDER BY series.step),
            'failed', jsonb_agg(series.failed ORDER BY series.step),
            'running', jsonb_agg(series.running ORDER BY series.step),
            'ready', torc.dashboard_ready_jobs(p_workflow_id, p_steps, span.first, span.last)
        )
        FROM (
            SELECT
                step,
                coalesce(sum(change.done) OVER until_then, 0) AS done,
                coalesce(sum(change.failed) OVER until_then, 0) AS failed,
                coalesce(sum(change.running) OVER until_then, 0) AS running
            FROM generate_series(1, p_steps) AS step
            LEFT JOIN change USING (step)
            WINDOW until_then AS (ORDER BY step)
        ) AS series
        CROSS JOIN span
        GROUP BY span.first, span.last
    );
END
$$;

-- How many jobs were ready: from the end of their last dependency to their own start. NULL for more than 20,000 jobs.
CREATE OR REPLACE FUNCTION torc.dashboard_ready_jobs(
    p_workflow_id bigint,
    p_steps integer,
    p_from double precision,
    p_to double precision
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
            SELECT * FROM torc.dashboard_executions(p_workflow_id)
        ),

        released AS (
            SELECT
                job.id,
                job.status,
                (
                    SELECT CASE WHEN count(*) = count(result.id) THEN coalesce(max(result.ended), p_from) END
                    FROM torc.dependencies_of(job.id) AS edge
                    LEFT JOIN LATERAL (
                        SELECT id, extract(epoch FROM torc.parse_time(completion_time))::double precision AS ended
                        FROM torc.result
                        WHERE result.job_id = edge.job_id AND is_current
                        OFFSET 0
                    ) AS result ON true
                ) AS at
            FROM torc.job AS job
            WHERE workflow_id = p_workflow_id
        ),

        change AS (
            SELECT
                least(greatest(width_bucket(moment.at, p_from, p_to, p_steps), 1), p_steps) AS step,
                sum(moment.ready) AS ready
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

-- What ran where: {"workflow", "from", "to", "first", "last", "nodes": […], "total_nodes", "cpus": […]}. p_from, p_to:
-- the span, by default all of it. A node has its CPUs, when it ends, and either jobs (if all nodes together have no
-- more than 2,000 in the span) or busy: how many of its CPUs were asked for at the ends of p_steps spans. cpus: the
-- same of all nodes. p_offset: 40 nodes from there on. Raises TC404, TC403.
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
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_now double precision := extract(epoch FROM clock_timestamp());
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        WITH node AS MATERIALIZED (
            SELECT
                id, hostname, num_cpus, is_active, extract(epoch FROM torc.parse_time(end_time)) AS ends
            FROM torc.compute_node
            WHERE workflow_id = p_workflow_id
            ORDER BY id
            LIMIT 40 OFFSET p_offset
        ),

        known AS MATERIALIZED (
            SELECT * FROM torc.dashboard_executions(p_workflow_id)
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

        execution AS MATERIALIZED (
            SELECT shown.*, job.name, requirement.num_cpus
            FROM (
                SELECT known.*, span.since, span.until
                FROM known
                CROSS JOIN span
                WHERE known.started < span.until AND coalesce(known.ended, v_now) > span.since
            ) AS shown
            INNER JOIN (
                SELECT id, name, resource_requirements_id FROM torc.job WHERE workflow_id = p_workflow_id
            ) AS job ON job.id = shown.job_id
            INNER JOIN (
                SELECT id, num_cpus FROM torc.resource_requirements WHERE workflow_id = p_workflow_id
            ) AS requirement ON requirement.id = job.resource_requirements_id
        ),

        change AS MATERIALIZED (
            SELECT
                moment.node_id,
                least(greatest(width_bucket(moment.at, moment.since, moment.until, p_steps), 1), p_steps) AS step,
                sum(moment.cpus) AS cpus
            FROM (
                SELECT node_id, started AS at, num_cpus AS cpus, since, until FROM execution
                UNION ALL
                SELECT node_id, ended, -num_cpus, since, until FROM execution WHERE ended < until
            ) AS moment
            GROUP BY 1, 2
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
            FROM execution
            WHERE (SELECT count(*) FROM execution) <= 2000
            GROUP BY node_id
        )

        SELECT jsonb_build_object(
            'workflow', (
                SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
            ),
            'from', span.since,
            'to', span.until,
            'first', span.first,
            'last', span.last,
            'executions', (SELECT count(*) FROM execution),
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
