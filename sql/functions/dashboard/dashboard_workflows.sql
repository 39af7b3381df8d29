-- The dashboard's list of workflows.

-- One page of the workflows that the caller may see: {"total": …, "workflows": […]}. p_filter holds search (in name,
-- user, project; or #id), whose (mine, shared, all), state (see dashboard_state()), age (of the workflow: day, week,
-- month, older), archived, sort (active, newest, name, user, project) and the bounds offset and limit. Only the
-- workflows of the page have their jobs counted.
CREATE OR REPLACE FUNCTION torc.dashboard_workflows(p_filter jsonb, p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_search text := lower(p_filter ->> 'search');
    v_sort text := p_filter ->> 'sort';
    v_offset bigint := (p_filter ->> 'offset')::bigint;
    v_limit bigint := (p_filter ->> 'limit')::bigint;
BEGIN
    RETURN (
        WITH visible AS MATERIALIZED (
            SELECT
                workflow.id,
                workflow.name,
                workflow."user",
                workflow.project,
                v_sort = 'active' AND torc.has_jobs_under_way(workflow.id) AS is_active
            FROM torc.workflow AS workflow
            CROSS JOIN LATERAL (
                SELECT is_canceled, is_archived FROM torc.workflow_status WHERE workflow_id = workflow.id OFFSET 0
            ) AS status
            WHERE torc.may_use_workflow(workflow.id, p_caller)
                AND status.is_archived = (p_filter ->> 'archived')::boolean
                AND (
                    v_search = ''
                    OR '#' || workflow.id = v_search
                    OR position(v_search IN lower(workflow.name)) > 0
                    OR position(v_search IN lower(workflow."user")) > 0
                    OR position(v_search IN lower(workflow.project)) > 0
                )
                AND CASE p_filter ->> 'whose'
                    WHEN 'mine' THEN workflow."user" = p_caller.name
                    WHEN 'shared' THEN workflow."user" <> p_caller.name
                        AND torc.is_shared_with(workflow.id, p_caller.name)
                    ELSE true
                END
                AND CASE p_filter ->> 'age'
                    WHEN 'day' THEN workflow."timestamp" > torc.now() - interval '1 day'
                    WHEN 'week' THEN workflow."timestamp" > torc.now() - interval '7 days'
                    WHEN 'month' THEN workflow."timestamp" > torc.now() - interval '30 days'
                    WHEN 'older' THEN workflow."timestamp" <= torc.now() - interval '30 days'
                    ELSE true
                END
                AND (
                    p_filter ->> 'state' = 'any'
                    OR p_filter ->> 'state' = torc.dashboard_state(workflow.id, status.is_canceled)
                )
        ),

        shown AS MATERIALIZED (
            SELECT *, row_number() OVER () AS place
            FROM (
                SELECT *
                FROM visible
                ORDER BY
                    is_active DESC,
                    CASE v_sort
                        WHEN 'name' THEN name
                        WHEN 'user' THEN "user"
                        WHEN 'project' THEN coalesce(project, '')
                    END,
                    id DESC
                LIMIT v_limit OFFSET v_offset
            ) AS chosen
        )

        SELECT jsonb_build_object(
            'total', (SELECT count(*) FROM visible),
            'workflows', coalesce(
                (SELECT jsonb_agg(torc.dashboard_outline(id) ORDER BY place) FROM shown), '[]'
            )
        )
    );
END
$$;

-- In one word, where a workflow is: canceled; active (jobs are ready, pending or running); new (jobs wait to be
-- initialized, or there are none); stuck (jobs wait for something that no worker will do); failed; done.
CREATE OR REPLACE FUNCTION torc.dashboard_state(p_workflow_id bigint, p_is_canceled boolean)
RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN CASE
        WHEN p_is_canceled THEN 'canceled'
        WHEN torc.has_jobs_under_way(p_workflow_id) THEN 'active'
        WHEN torc.has_jobs(p_workflow_id, 'uninitialized') THEN 'new'
        WHEN torc.has_jobs(p_workflow_id, 'blocked')
            OR torc.has_jobs(p_workflow_id, 'pending_failed') THEN 'stuck'
        WHEN torc.has_failed_jobs(p_workflow_id) THEN 'failed'
        WHEN torc.has_jobs(p_workflow_id, 'completed') THEN 'done'
        ELSE 'new'
    END;
END
$$;

-- What every page says of a workflow. The caller has checked access. Counts the jobs by status (an index scan), reads
-- the newest 200 results and the newest event, and, if jobs run, what dashboard_ahead() reads.
CREATE OR REPLACE FUNCTION torc.dashboard_outline(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
DECLARE
    v_counts jsonb := torc.dashboard_counts(p_workflow_id);
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'id', workflow.id,
            'name', workflow.name,
            'user', workflow."user",
            'project', workflow.project,
            'created', extract(epoch FROM workflow."timestamp"),
            'run_id', status.run_id,
            'is_canceled', status.is_canceled,
            'is_archived', status.is_archived,
            'state', torc.dashboard_state(workflow.id, status.is_canceled),
            'counts', v_counts,
            'ahead', CASE WHEN v_counts ? 'running' THEN torc.dashboard_ahead(p_workflow_id, v_counts) END,
            'changed', greatest(
                extract(epoch FROM workflow."timestamp"),
                (pace.value ->> 'newest')::numeric,
                (
                    SELECT "timestamp" / 1000.0
                    FROM torc.event
                    WHERE workflow_id = p_workflow_id
                    ORDER BY "timestamp" DESC, id DESC
                    LIMIT 1
                )
            )
        ) || pace.value
        FROM torc.workflow AS workflow
        CROSS JOIN LATERAL (
            SELECT * FROM torc.workflow_status WHERE workflow_id = workflow.id OFFSET 0
        ) AS status
        CROSS JOIN LATERAL (SELECT torc.dashboard_pace(p_workflow_id) AS value OFFSET 0) AS pace
        WHERE workflow.id = p_workflow_id
    );
END
$$;

-- {"completed": 3, …} with the statuses that occur.
CREATE OR REPLACE FUNCTION torc.dashboard_counts(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_object_agg(status, jobs), '{}') FROM torc.jobs_by_status(p_workflow_id) WHERE jobs > 0
    );
END
$$;

-- How fast jobs end: {"per_minute": …, "newest": when the last one ended, in seconds since 1970}, from the newest 200
-- results. per_minute is left out when the last one ended more than 15 minutes ago. Without bitmaps, which would read
-- and sort all results of the workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_pace(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    v_now numeric := extract(epoch FROM torc.now());
BEGIN
    RETURN (
        SELECT jsonb_strip_nulls(jsonb_build_object(
            'newest', max(ended),
            'per_minute', CASE WHEN max(ended) > v_now - 900 AND count(ended) > 1 THEN
                (count(ended) - 1) * 60 / greatest(max(ended) - min(ended), v_now - min(ended), 0.05)
            END
        ))
        FROM (
            SELECT extract(epoch FROM torc.parse_time(completion_time)) AS ended
            FROM (
                SELECT completion_time
                FROM torc.result
                WHERE workflow_id = p_workflow_id
                ORDER BY workflow_id DESC, id DESC
                LIMIT 200
            ) AS newest
        ) AS known
    );
END
$$;
