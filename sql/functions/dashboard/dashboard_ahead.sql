-- How long a workflow goes on: the estimate that all pages of the dashboard show.

-- What is still to be done, in seconds: {"ends_s": until the end, if as many jobs as now go on running (left out if
-- none runs), "work_s": all jobs together, "running": how many run, "chain_s": the longest chain of jobs that wait for
-- each other, "chain": the names of its first 12 jobs, "chain_jobs": how many it has (none of the three while jobs with
-- files or user data are not initialized: what they wait for is not known yet), "is_measured": times are those that
-- jobs took, "is_asked": times are those that jobs asked for, "newest": how many jobs were read one by one, if not
-- all}. ends_s is the larger one of chain_s and work_s / running. A job takes as long as jobs of the same name took, or
-- else of the same requirement, see dashboard_times(), or else the time that it asked for; a running one takes what is
-- left of that. Only the newest 1,000 open jobs are read one by one: those at the end of the workflow. Of older ones
-- the requirement tells the time, see dashboard_older(), and no chain is followed. p_counts: see dashboard_counts().
-- 70,000 open jobs: 0.012 s of CPU, 1,000: 0.01 s. The caller has checked access.
CREATE OR REPLACE FUNCTION torc.dashboard_ahead(p_workflow_id bigint, p_counts jsonb)
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
    v_running bigint := coalesce((p_counts ->> 'running')::bigint, 0);
    v_open bigint := (
        SELECT coalesce(sum(jobs::bigint), 0)
        FROM jsonb_each_text(p_counts) AS counted (word, jobs)
        WHERE torc.is_open(word::torc.job_status)
    );
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
                SELECT old.*
                FROM (SELECT min(id) AS first_id FROM newest HAVING count(*) = c_most) AS oldest
                CROSS JOIN LATERAL torc.dashboard_older(p_workflow_id, oldest.first_id, v_open - c_most) AS old
                OFFSET 0
            ) AS older
            INNER JOIN asked ON asked.id = older.requirement_id
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

-- How many of the p_jobs open jobs with ids below p_before want each requirement. Up to 5,000 jobs are read; of more,
-- those at 1,000 places among their ids: one in each of as many equal parts, by a hash in it, so that no pattern of the
-- workflow repeats with it and all pages agree. The standard error of a share is 1.6 % at most. If fewer than 200 of
-- these ids are such jobs, because most are other workflows', all jobs are read (0.7 µs each).
CREATE OR REPLACE FUNCTION torc.dashboard_older(p_workflow_id bigint, p_before bigint, p_jobs bigint)
RETURNS TABLE (requirement_id bigint, jobs double precision)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
ROWS 100
AS $$
DECLARE
    c_places CONSTANT integer := 1000;
    v_first bigint;
    v_sample bigint[];
BEGIN
    IF p_jobs > 5000 THEN
        SELECT min(oldest.id) INTO v_first
        FROM unnest(enum_range(NULL::torc.job_status)) AS open_status
        CROSS JOIN LATERAL (
            SELECT id
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = open_status
            ORDER BY workflow_id, status, id
            LIMIT 1
        ) AS oldest
        WHERE torc.is_open(open_status);
        v_sample := ARRAY(
            SELECT found.requirement_id
            FROM generate_series(0, c_places - 1) AS place
            CROSS JOIN LATERAL (
                SELECT resource_requirements_id AS requirement_id
                FROM torc.job
                WHERE id = v_first + trunc(
                        (p_before - v_first)::double precision
                        * (place + (hashint4(place) & 1023) / 1024.0::double precision) / c_places
                    )::bigint
                    AND workflow_id = p_workflow_id AND torc.is_open(status)
                OFFSET 0
            ) AS found
        );
    END IF;
    IF cardinality(v_sample) >= 200 THEN
        RETURN QUERY
        SELECT id, count(*)::double precision * p_jobs / cardinality(v_sample) FROM unnest(v_sample) AS id GROUP BY id;
    ELSE
        RETURN QUERY
        SELECT job.resource_requirements_id, count(*)::double precision
        FROM unnest(enum_range(NULL::torc.job_status)) AS open_status
        CROSS JOIN LATERAL (
            SELECT resource_requirements_id
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = open_status AND id < p_before
            OFFSET 0
        ) AS job
        WHERE torc.is_open(open_status)
        GROUP BY job.resource_requirements_id;
    END IF;
END
$$;

-- The longest chain among given jobs, by the seconds that each takes: the numbers of its jobs in the list, the first
-- one first. Jobs in cycles are left out.
CREATE OR REPLACE FUNCTION torc.dashboard_chain(
    p_job_ids bigint[],
    p_seconds double precision[],
    OUT seconds double precision,
    OUT numbers integer[]
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_before integer[];
    v_at integer;
BEGIN
    SELECT longest.number, longest.length, chain.before INTO v_at, seconds, v_before
    FROM (
        SELECT
            coalesce(array_agg(dependency ORDER BY dependent), '{}') AS dependencies,
            coalesce(array_agg(dependent ORDER BY dependent), '{}') AS dependents
        FROM torc.edges_among(p_job_ids)
    ) AS edge
    CROSS JOIN LATERAL torc.longest_chains(p_seconds, edge.dependencies, edge.dependents) AS chain
    CROSS JOIN LATERAL unnest(chain.lengths) WITH ORDINALITY AS longest (length, number)
    WHERE longest.length > 0
    ORDER BY longest.length DESC, longest.number
    LIMIT 1;
    WHILE v_at IS NOT NULL LOOP
        numbers := array_prepend(v_at, numbers);
        v_at := v_before[v_at];
    END LOOP;
END
$$;

-- How long jobs take, in seconds, by name (digits left out), and by requirement: the means of the newest 1,000 jobs of
-- a workflow that are completed. One of pattern and requirement_id is NULL. Without bitmaps, which would read and sort
-- all results of the workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_times(p_workflow_id bigint)
RETURNS TABLE (pattern text, requirement_id bigint, seconds double precision)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
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
