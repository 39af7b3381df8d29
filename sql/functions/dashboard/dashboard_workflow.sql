-- The dashboard's page of a workflow.

-- All that the page says; lists are cut, and say how long they are. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_workflow(p_workflow_id bigint, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN torc.dashboard_outline(p_workflow_id) || (
        SELECT jsonb_build_object(
            'description', workflow.description,
            'settings', jsonb_strip_nulls(jsonb_build_object(
                'compute_node_wait_for_new_jobs_seconds', workflow.compute_node_wait_for_new_jobs_seconds,
                'compute_node_min_time_for_new_jobs_seconds', workflow.compute_node_min_time_for_new_jobs_seconds,
                'compute_node_expiration_buffer_seconds', workflow.compute_node_expiration_buffer_seconds,
                'use_pending_failed', workflow.use_pending_failed,
                'resource_monitor_config', workflow.resource_monitor_config,
                'execution_config', workflow.execution_config,
                'slurm_defaults', workflow.slurm_defaults,
                'metadata', workflow.metadata,
                'env', workflow.env
            )),
            'version', torc.dashboard_version(p_workflow_id),
            'groups', torc.groups_of_workflow(p_workflow_id),
            'failures', torc.dashboard_failures(p_workflow_id),
            'nodes', torc.dashboard_nodes_at_work(p_workflow_id),
            'waiting', torc.summary_of_waiting_jobs(
                p_workflow_id, (SELECT seconds_without_labels FROM torc.summary_of_nodes(p_workflow_id, false))
            ),
            'actions', torc.dashboard_workflow_actions(p_workflow_id),
            'events', torc.dashboard_events(p_workflow_id),
            'files', (SELECT count(*) FROM torc.file WHERE workflow_id = p_workflow_id),
            'user_data', (SELECT count(*) FROM torc.user_data WHERE workflow_id = p_workflow_id),
            'first_files', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'path', path) ORDER BY id), '[]')
                FROM (
                    SELECT id, name, path FROM torc.file WHERE workflow_id = p_workflow_id ORDER BY id LIMIT 20
                ) AS file
            ),
            'first_user_data', (
                SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'has_data', has_data) ORDER BY id), '[]')
                FROM (
                    SELECT id, name, data IS NOT NULL AS has_data
                    FROM torc.user_data
                    WHERE workflow_id = p_workflow_id
                    ORDER BY id
                    LIMIT 20
                ) AS user_data
            )
        )
        FROM torc.workflow AS workflow
        WHERE workflow.id = p_workflow_id
    );
END
$$;

-- Why jobs failed: {"jobs": how many were read, "canceled": how many were canceled because of them, "groups": […]}, the
-- first 1,000 jobs of each of failed, terminated and pending_failed, grouped by return code and by the last line of
-- stderr with its digits left out; a group has its number, up to three jobs, nodes, the largest use beside the request.
CREATE OR REPLACE FUNCTION torc.dashboard_failures(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        WITH failed AS MATERIALIZED (
            SELECT
                job.id,
                job.name,
                job.status,
                result.return_code,
                result.compute_node_id,
                result.peak_memory_bytes,
                result.exec_time_minutes,
                requirement.id AS requirement_id,
                requirement.name AS requirement,
                requirement.memory_bytes,
                requirement.runtime_s,
                right(rtrim(result.stderr, E' \t\r\n'), 600) AS stderr
            FROM unnest(enum_range(NULL::torc.job_status)) AS wanted
            CROSS JOIN LATERAL (
                SELECT id, name, status, resource_requirements_id
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = wanted
                ORDER BY id
                LIMIT 1000
            ) AS job
            LEFT JOIN LATERAL (
                SELECT * FROM torc.result WHERE job_id = job.id AND is_current OFFSET 0
            ) AS result ON true
            LEFT JOIN LATERAL (
                SELECT * FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
            ) AS requirement ON true
            WHERE torc.went_wrong(wanted)
        ),

        grouped AS (
            SELECT
                status,
                return_code,
                count(*) AS jobs,
                (array_agg(jsonb_build_object('id', id, 'name', name) ORDER BY id))[1:3] AS first_jobs,
                (array_agg(DISTINCT compute_node_id))[1:5] AS node_ids,
                max(peak_memory_bytes) AS peak_memory_bytes,
                min(memory_bytes) AS memory_bytes,
                max(exec_time_minutes) * 60 AS exec_time_s,
                min(runtime_s) AS runtime_s,
                (array_agg(requirement ORDER BY id))[1] AS requirement,
                bool_or(peak_memory_bytes > memory_bytes) AS took_too_much_memory,
                bool_or(exec_time_minutes * 60 >= runtime_s) AS took_too_long,
                (array_agg(stderr ORDER BY id))[1] AS stderr
            FROM failed
            GROUP BY status, return_code, regexp_replace(regexp_replace(stderr, '^.*\n', ''), '[0-9]+', '#', 'g')
        )

        SELECT jsonb_build_object(
            'jobs', (SELECT count(*) FROM failed),
            'canceled', (
                SELECT count(*)
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'canceled' AND canceled_by_dependency
            ),
            'groups', coalesce(
                (
                    SELECT jsonb_agg(to_jsonb(largest) - 'node_ids' || jsonb_build_object(
                        'hosts', ARRAY(
                            SELECT DISTINCT node.hostname
                            FROM unnest(largest.node_ids) AS node_id
                            CROSS JOIN LATERAL (
                                SELECT hostname FROM torc.compute_node WHERE id = node_id OFFSET 0
                            ) AS node
                            ORDER BY 1
                        )
                    ) ORDER BY largest.jobs DESC, largest.return_code)
                    FROM (SELECT * FROM grouped ORDER BY jobs DESC, return_code LIMIT 8) AS largest
                ),
                '[]'
            )
        )
    );
END
$$;

-- What runs where: the first 12 active nodes with up to 8 of their running jobs each.
CREATE OR REPLACE FUNCTION torc.dashboard_nodes_at_work(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN jsonb_build_object(
        'active', torc.dashboard_active_nodes(p_workflow_id),
        'at_work', (
            SELECT count(*)
            FROM torc.compute_node AS node
            WHERE workflow_id = p_workflow_id AND is_active
                AND EXISTS (
                    SELECT 1 FROM torc.job WHERE active_compute_node_id = node.id AND status = 'running' OFFSET 0
                )
        ),
        'list', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', node.id,
                'host', node.hostname,
                'cpus', node.num_cpus,
                'jobs', running.jobs,
                'count', (
                    SELECT count(*) FROM torc.job WHERE active_compute_node_id = node.id AND status = 'running'
                )
            ) ORDER BY node.id)
            FROM (
                SELECT * FROM torc.compute_node WHERE workflow_id = p_workflow_id AND is_active ORDER BY id LIMIT 12
            ) AS node
            CROSS JOIN LATERAL (
                SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'id', job.id,
                    'name', job.name,
                    'since', extract(epoch FROM job.start_time),
                    'runtime_s', (
                        SELECT runtime_s FROM torc.resource_requirements WHERE id = job.resource_requirements_id
                    )
                ) ORDER BY job.id), '[]') AS jobs
                FROM (
                    SELECT *
                    FROM torc.job
                    WHERE active_compute_node_id = node.id AND status = 'running'
                    ORDER BY id
                    LIMIT 8
                ) AS job
            ) AS running
        ), '[]')
    );
END
$$;

-- The first 20 actions of a workflow, each with its state and what it waits for.
CREATE OR REPLACE FUNCTION torc.dashboard_workflow_actions(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', action.id,
        'trigger', action.trigger_type,
        'action', action.action_type,
        'count', action.trigger_count,
        'required', action.required_triggers,
        'executed', action.executed,
        'pending', torc.is_pending(action),
        'persistent', action.persistent,
        'is_recovery', action.is_recovery
    ) ORDER BY action.id), '[]')
    FROM (SELECT * FROM torc.workflow_action WHERE workflow_id = p_workflow_id ORDER BY id LIMIT 20) AS action
$$;

-- The newest 20 events of a workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_events(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
        'id', id,
        'at', "timestamp" / 1000.0,
        'type', coalesce(data ->> 'category', data ->> 'event_type', data ->> 'type', data ->> 'action'),
        'text', left(coalesce(data ->> 'message', data ->> 'action', data::text), 300),
        'user', data ->> 'user'
    ) ORDER BY id DESC), '[]')
    FROM (SELECT * FROM torc.event WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 20) AS newest
$$;

-- What jobs used beside what they asked for, per requirement: the current results of the workflow, those with a return
-- code of 0 for the time. Raises TC404, TC403. Reads all current results: some 3 µs each.
CREATE OR REPLACE FUNCTION torc.dashboard_use(p_workflow_id bigint, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        WITH job AS (
            SELECT resource_requirements_id AS id, count(*) AS jobs
            FROM torc.job
            WHERE workflow_id = p_workflow_id
            GROUP BY resource_requirements_id
        ),

        used AS (
            SELECT
                job.resource_requirements_id AS id,
                count(*) AS results,
                max(result.peak_memory_bytes) AS peak_memory_bytes,
                avg(result.peak_memory_bytes) AS mean_memory_bytes,
                max(result.peak_cpu_percent) AS peak_cpu_percent,
                avg(result.avg_cpu_percent) AS mean_cpu_percent,
                max(result.exec_time_minutes) * 60 AS longest_s,
                avg(result.exec_time_minutes) * 60 AS mean_s
            FROM (
                SELECT id, resource_requirements_id FROM torc.job WHERE workflow_id = p_workflow_id
            ) AS job
            INNER JOIN (
                SELECT
                    job_id,
                    peak_memory_bytes,
                    peak_cpu_percent,
                    avg_cpu_percent,
                    least(greatest(exec_time_minutes, 0), 1e9) AS exec_time_minutes
                FROM torc.result
                WHERE workflow_id = p_workflow_id AND is_current
            ) AS result ON result.job_id = job.id
            GROUP BY job.resource_requirements_id
        )

        SELECT coalesce(jsonb_agg(
            jsonb_build_object(
                'id', requirement.id,
                'name', requirement.name,
                'cpus', requirement.num_cpus,
                'gpus', requirement.num_gpus,
                'nodes', requirement.num_nodes,
                'memory', requirement.memory,
                'memory_bytes', requirement.memory_bytes,
                'runtime', requirement.runtime,
                'runtime_s', requirement.runtime_s,
                'jobs', job.jobs
            ) || coalesce(to_jsonb(used) - 'id', '{}')
            ORDER BY job.jobs DESC, requirement.id
        ), '[]')
        FROM (
            SELECT * FROM torc.resource_requirements WHERE workflow_id = p_workflow_id ORDER BY id LIMIT 200
        ) AS requirement
        INNER JOIN job ON job.id = requirement.id
        LEFT JOIN used ON used.id = requirement.id
    );
END
$$;

-- The numbers of jobs by status, and the version. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_pulse(p_workflow_id bigint, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_counts jsonb := torc.dashboard_counts(torc.authorize_workflow(p_workflow_id, p_caller));
BEGIN
    RETURN jsonb_build_object('counts', v_counts, 'version', torc.dashboard_version(p_workflow_id, v_counts));
END
$$;

-- What a page shows of a workflow has changed when this has: numbers of jobs by status, run state, newest result and
-- event, active nodes. A page that has the version that its stream tells of need not be made again.
CREATE OR REPLACE FUNCTION torc.dashboard_version(p_workflow_id bigint, p_counts jsonb)
RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN md5(concat_ws(
        ' ', p_counts, torc.workflow_status_json(p_workflow_id),
        (SELECT id FROM torc.result WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 1),
        'e', (SELECT id FROM torc.event WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 1),
        torc.dashboard_active_nodes(p_workflow_id)
    ));
END
$$;

-- The same for pages that do not count the jobs otherwise: 10 ms for 100,000 jobs.
CREATE OR REPLACE FUNCTION torc.dashboard_version(p_workflow_id bigint)
RETURNS text
LANGUAGE sql STABLE
AS $$ SELECT torc.dashboard_version(p_workflow_id, torc.dashboard_counts(p_workflow_id)) $$;
