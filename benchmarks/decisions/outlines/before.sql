-- Estimates that count all older jobs by requirement; rates and times that sort all results of the workflow; jobs counted
-- in the table.
CREATE OR REPLACE FUNCTION torc.dashboard_ahead(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    c_most CONSTANT integer := 1000;
    v_now timestamptz := torc.now();
    v_running bigint := (SELECT count(*) FROM torc.job WHERE workflow_id = p_workflow_id AND status = 'running');
    v_job record;
    v_chain record;
    v_work_s double precision;
BEGIN
    WITH known AS MATERIALIZED (
        SELECT * FROM torc.dashboard_times(p_workflow_id)
    ),

    asked AS MATERIALIZED (
        SELECT requirement.id, coalesce(known.seconds, requirement.runtime_s) AS seconds
        FROM (SELECT id, runtime_s FROM torc.resource_requirements WHERE workflow_id = p_workflow_id) AS requirement
        LEFT JOIN known ON known.requirement_id = requirement.id
    ),

    newest AS MATERIALIZED (
        SELECT job.*
        FROM unnest(enum_range(NULL::torc.job_status)) AS open_status
        CROSS JOIN LATERAL (
            SELECT id, name, status, resource_requirements_id, start_time, has_links
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = open_status
            ORDER BY workflow_id DESC, status DESC, id DESC
            LIMIT c_most
        ) AS job
        WHERE torc.is_open(open_status)
        ORDER BY job.id DESC
        LIMIT c_most
    ),

    timed AS MATERIALIZED (
        SELECT
            newest.id,
            newest.name,
            coalesce(by_name.seconds, asked.seconds, 0) AS seconds,  -- NULL: another workflow's requirement
            coalesce(by_name.seconds, by_requirement.seconds) IS NOT NULL AS is_measured,
            newest.has_links AND newest.status = 'uninitialized' AS is_unknown,
            CASE WHEN newest.status = 'running' THEN
                greatest(date_part('epoch', v_now - newest.start_time), 0)
            END AS age
        FROM newest
        LEFT JOIN known AS by_name ON by_name.pattern = regexp_replace(newest.name, '[0-9]+', '*', 'g')
        LEFT JOIN known AS by_requirement ON by_requirement.requirement_id = newest.resource_requirements_id
        LEFT JOIN asked ON asked.id = newest.resource_requirements_id
    )

    SELECT
        coalesce(array_agg(id ORDER BY id), '{}') AS ids,
        array_agg(name ORDER BY id) AS names,
        coalesce(array_agg(greatest(seconds - coalesce(age, 0), 0) ORDER BY id), '{}') AS seconds,
        bool_or(is_measured) AS is_measured,
        bool_or(NOT is_measured) AS is_asked,
        bool_or(is_unknown) AS is_unknown,
        (
            SELECT sum(older.jobs * asked.seconds)
            FROM (
                SELECT job.resource_requirements_id, count(*) AS jobs
                FROM unnest(enum_range(NULL::torc.job_status)) AS open_status
                CROSS JOIN LATERAL (
                    SELECT resource_requirements_id
                    FROM torc.job
                    WHERE workflow_id = p_workflow_id AND status = open_status
                        AND id < (SELECT min(id) FROM newest HAVING count(*) = c_most)
                    OFFSET 0
                ) AS job
                WHERE torc.is_open(open_status)
                GROUP BY job.resource_requirements_id
            ) AS older
            INNER JOIN asked ON asked.id = older.resource_requirements_id
        ) AS older_s
    INTO v_job
    FROM timed;
    SELECT * INTO v_chain FROM torc.dashboard_chain(v_job.ids, v_job.seconds) WHERE NOT v_job.is_unknown;
    v_work_s := coalesce((SELECT sum(seconds) FROM unnest(v_job.seconds) AS seconds), 0) + coalesce(v_job.older_s, 0);
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'ends_s', CASE WHEN v_running > 0 THEN greatest(v_chain.seconds, v_work_s / v_running) END,
        'work_s', v_work_s,
        'running', v_running,
        'chain_s', v_chain.seconds,
        'chain', (
            SELECT coalesce(jsonb_agg(v_job.names[number] ORDER BY place), '[]')
            FROM unnest(v_chain.numbers[:12]) WITH ORDINALITY AS chain (number, place)
        ),
        'chain_jobs', cardinality(v_chain.numbers),
        'is_measured', v_job.is_measured,
        'is_asked', v_job.is_asked,
        'newest', CASE WHEN v_job.older_s IS NOT NULL THEN c_most END
    ));
END
$$;

CREATE OR REPLACE FUNCTION torc.dashboard_times(p_workflow_id bigint)
RETURNS TABLE (pattern text, requirement_id bigint, seconds double precision)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
ROWS 100
AS $$
BEGIN
    RETURN QUERY
    SELECT
        regexp_replace(job.name, '[0-9]+', '*', 'g'), job.resource_requirements_id,
        avg(least(greatest(result.exec_time_minutes, 0), 1e6)) * 60
    FROM (
        SELECT job_id, exec_time_minutes
        FROM torc.result
        WHERE workflow_id = p_workflow_id AND is_current AND status = 'completed'
        ORDER BY workflow_id DESC, id DESC
        LIMIT 1000
    ) AS result
    CROSS JOIN LATERAL (
        SELECT name, resource_requirements_id FROM torc.job WHERE id = result.job_id OFFSET 0
    ) AS job
    GROUP BY GROUPING SETS ((1), (2));
END
$$;

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
            'ahead', CASE WHEN v_counts ? 'running' THEN torc.dashboard_ahead(p_workflow_id) END,
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

CREATE OR REPLACE FUNCTION torc.dashboard_counts(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_object_agg(status, jobs), '{}')
        FROM (
            SELECT status, count(*) AS jobs FROM torc.job WHERE workflow_id = p_workflow_id GROUP BY status
        ) AS counted
    );
END
$$;

CREATE OR REPLACE FUNCTION torc.dashboard_pace(p_workflow_id bigint)
RETURNS jsonb
LANGUAGE plpgsql STABLE
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
                SELECT completion_time FROM torc.result WHERE workflow_id = p_workflow_id ORDER BY id DESC LIMIT 200
            ) AS newest
        ) AS known
    );
END
$$;
