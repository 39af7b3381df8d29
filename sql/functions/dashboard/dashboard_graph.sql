-- The dashboard's picture of a workflow's graph. In small workflows each job is a node. In larger ones the jobs
-- whose names differ only in digits are one node, until somebody unfolds it.

-- {"workflow", "version", "total", "folded", "nodes": […], "edges": […]}. A node has key, label, jobs, counts by
-- status, work_s (how long one of its jobs that are not complete takes: as jobs of the same name took, or else of the
-- same requirement, see dashboard_times(), or else the time asked for), is_measured, and id if it is one job; an edge
-- has the places of its ends among the nodes ("source", "target"), and how many dependencies it means: all, by
-- files, by user data. p_fold_above: workflows of more jobs are folded. p_open: keys of the nodes to unfold. One of
-- more than 200 jobs becomes one node for each status, which can be unfolded in turn. No more than p_most nodes are
-- made of names: the smallest ones are put together as "…". 100,000 jobs with 200,000 dependencies: 0.2 s of CPU.
-- Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_graph(
    p_workflow_id bigint,
    p_open text[],
    p_fold_above integer,
    p_most integer,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    v_is_folded boolean;
    v_found record;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    v_is_folded := EXISTS (SELECT 1 FROM torc.job WHERE workflow_id = p_workflow_id OFFSET p_fold_above);
    SELECT * INTO v_found FROM torc.dashboard_graph_nodes(p_workflow_id, p_open, v_is_folded, p_most);
    RETURN jsonb_build_object(
        'workflow', (
            SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
        ),
        'version', torc.dashboard_version(p_workflow_id),
        'total', cardinality(v_found.ids),
        'folded', v_is_folded,
        'nodes', v_found.nodes,
        'edges', torc.dashboard_graph_edges(p_workflow_id, v_found.ids, v_found.places)
    );
END
$$;

-- The nodes, and of all jobs by id the place among them. Digits at the end of a name are cut off first: most names are
-- alike then, and only those that differ go through the regular expression, which takes three times as long.
CREATE OR REPLACE FUNCTION torc.dashboard_graph_nodes(
    p_workflow_id bigint,
    p_open text[],
    p_is_folded boolean,
    p_most integer,
    OUT nodes jsonb,
    OUT ids bigint[],
    OUT places integer[]
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
BEGIN
    WITH member AS MATERIALIZED (
        SELECT id, status, resource_requirements_id, stem, stem <> name AS is_numbered
        FROM (
            SELECT *, rtrim(name, '0123456789') AS stem
            FROM torc.job
            WHERE workflow_id = p_workflow_id
            OFFSET 0
        ) AS job
    ),

    known AS MATERIALIZED (
        SELECT * FROM torc.dashboard_times(p_workflow_id)
    ),

    -- The jobs of one name and one status: they are shown alike.
    alike AS MATERIALIZED (
        SELECT
            counted.*,
            CASE WHEN is_open THEN coalesce(by_name.seconds, by_requirement.seconds, runtime_s) END AS work_s,
            coalesce(by_name.seconds, by_requirement.seconds) IS NOT NULL AS is_measured
        FROM (
            SELECT
                *,
                regexp_replace(stem, '[0-9]+', '*', 'g') || CASE WHEN is_numbered THEN '*' ELSE '' END AS pattern,
                NOT torc.is_complete(status) AND status <> 'disabled' AS is_open,
                (SELECT runtime_s FROM torc.resource_requirements WHERE id = resource_requirements_id) AS runtime_s
            FROM (
                SELECT stem, is_numbered, status, resource_requirements_id, count(*) AS jobs, min(id) AS first
                FROM member
                GROUP BY stem, is_numbered, status, resource_requirements_id
            ) AS grouped
        ) AS counted
        LEFT JOIN known AS by_name ON by_name.pattern = counted.pattern
        LEFT JOIN known AS by_requirement
            ON by_requirement.requirement_id = counted.resource_requirements_id
    ),

    pattern AS MATERIALIZED (
        SELECT
            pattern,
            sum(jobs) AS jobs,
            pattern = ANY (p_open) AS is_open,
            row_number() OVER (ORDER BY sum(jobs) DESC, pattern) > p_most AS is_rest
        FROM alike
        GROUP BY pattern
    ),

    -- key: of the node that represents them; NULL: each is a node.
    shown AS MATERIALIZED (
        SELECT
            of_status.*,
            CASE
                WHEN NOT p_is_folded THEN NULL
                WHEN pattern.is_rest THEN '…'
                WHEN NOT pattern.is_open THEN of_status.pattern
                WHEN pattern.jobs <= 200 THEN NULL
                WHEN of_status.jobs <= 200 AND of_status.pattern || ' ' || of_status.status = ANY (p_open) THEN NULL
                ELSE of_status.pattern || ' ' || of_status.status
            END AS key
        FROM (
            SELECT
                pattern, status, sum(jobs)::bigint AS jobs, min(first) AS first, max(work_s) AS work_s,
                bool_or(is_measured) AS is_measured
            FROM alike
            GROUP BY pattern, status
        ) AS of_status
        INNER JOIN pattern ON pattern.pattern = of_status.pattern
    ),

    kind AS MATERIALIZED (
        SELECT
            alike.stem, alike.is_numbered, alike.status, alike.resource_requirements_id, alike.work_s,
            alike.is_measured, shown.key
        FROM alike
        INNER JOIN shown ON shown.pattern = alike.pattern AND shown.status = alike.status
    ),

    -- The jobs that are nodes by themselves.
    single AS MATERIALIZED (
        SELECT member.id, member.status, kind.work_s, kind.is_measured
        FROM member
        INNER JOIN kind
            ON kind.stem = member.stem
            AND kind.is_numbered = member.is_numbered
            AND kind.status = member.status
            AND kind.resource_requirements_id = member.resource_requirements_id
        WHERE kind.key IS NULL
    ),

    node AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY first) - 1)::integer AS place
        FROM (
            SELECT
                key, sum(jobs) AS jobs, min(first) AS first, jsonb_object_agg(status, jobs) AS counts,
                max(work_s) AS work_s, bool_or(is_measured) AS is_measured
            FROM (
                SELECT
                    key, status, sum(jobs) AS jobs, min(first) AS first, max(work_s) AS work_s,
                    bool_or(is_measured) AS is_measured
                FROM shown
                WHERE key IS NOT NULL
                GROUP BY key, status
            ) AS of_status
            GROUP BY key
            UNION ALL
            SELECT 'job ' || id, 1, id, jsonb_build_object(status, 1), work_s, is_measured
            FROM single
        ) AS made
    ),

    spot AS (
        SELECT member.id, target.place
        FROM member
        INNER JOIN (
            SELECT kind.*, node.place FROM kind INNER JOIN node ON node.key = kind.key
        ) AS target
            ON target.stem = member.stem
            AND target.is_numbered = member.is_numbered
            AND target.status = member.status
            AND target.resource_requirements_id = member.resource_requirements_id
        UNION ALL
        SELECT single.id, node.place
        FROM single
        INNER JOIN node ON node.key = 'job ' || single.id
    )

    SELECT
        coalesce((
            SELECT jsonb_agg(
                jsonb_build_object(
                    'key', node.key,
                    'label', CASE
                        WHEN node.jobs = 1 THEN (SELECT name FROM torc.job WHERE id = node.first) ELSE node.key
                    END,
                    'id', CASE WHEN node.jobs = 1 THEN node.first END,
                    'jobs', node.jobs,
                    'counts', node.counts,
                    'work_s', node.work_s,
                    'is_measured', node.is_measured
                )
                ORDER BY node.place
            )
            FROM node
        ), '[]'),
        coalesce(array_agg(spot.id ORDER BY spot.id), '{}'),
        array_agg(spot.place ORDER BY spot.id)
    INTO nodes, ids, places
    FROM spot;
END
$$;

-- How long jobs take, in seconds, by name (digits left out), and by requirement: the means of the newest 2,000 jobs of
-- a workflow that are completed. One of pattern and requirement_id is NULL.
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
        LIMIT 2000
    ) AS result
    CROSS JOIN LATERAL (
        SELECT name, resource_requirements_id FROM torc.job WHERE id = result.job_id OFFSET 0
    ) AS job
    GROUP BY GROUPING SETS ((1), (2));
END
$$;

-- The edges between nodes. p_ids: all jobs of the workflow, ascending; p_places: their nodes.
CREATE OR REPLACE FUNCTION torc.dashboard_graph_edges(p_workflow_id bigint, p_ids bigint[], p_places integer[])
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(to_jsonb(edge) ORDER BY source, target), '[]')
        FROM torc.dashboard_placed_links(p_workflow_id, p_ids, p_places) AS edge
    );
END
$$;

-- How many dependencies there are between jobs at two places, by kind (see dashboard_links_between()). Ids mostly
-- follow each other: then the dependencies are a range of their index, and an array tells the place of a job. That
-- takes a third of the time of two hash joins, which are made where ids are scattered.
CREATE OR REPLACE FUNCTION torc.dashboard_placed_links(p_workflow_id bigint, p_ids bigint[], p_places integer[])
RETURNS TABLE (source integer, target integer, jobs bigint, files bigint, data bigint)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_first bigint := p_ids[1];
    v_last bigint := p_ids[cardinality(p_ids)];
    v_is_dense boolean := v_last - v_first < 2 * cardinality(p_ids);
    v_has_links boolean := EXISTS (SELECT 1 FROM torc.file WHERE workflow_id = p_workflow_id)
        OR EXISTS (SELECT 1 FROM torc.user_data WHERE workflow_id = p_workflow_id);
    v_places integer[] := p_places;
BEGIN
    IF v_is_dense AND v_last - v_first >= cardinality(p_ids) THEN  -- there are gaps
        v_places := ARRAY(
            SELECT coalesce(known.place, -1)
            FROM generate_series(v_first, v_last) AS id
            LEFT JOIN unnest(p_ids, p_places) AS known (id, place) USING (id)
            ORDER BY id
        );
    END IF;
    RETURN QUERY
    WITH spot AS MATERIALIZED (
        SELECT id, place FROM unnest(p_ids, p_places) AS known (id, place) WHERE NOT v_is_dense
    ),

    placed AS (
        SELECT
            v_places[(link.depends_on - v_first + 1)::integer] AS source,
            v_places[(link.job_id - v_first + 1)::integer] AS target,
            link.kind
        FROM torc.dashboard_links_between(v_first, v_last, v_has_links) AS link
        WHERE v_is_dense
        UNION ALL
        SELECT source.place, target.place, link.kind
        FROM (
            SELECT spot.id AS job_id, edge.job_id AS depends_on, 1 AS kind
            FROM spot
            CROSS JOIN LATERAL torc.dependencies_of(spot.id) AS edge
            UNION ALL
            SELECT * FROM torc.dashboard_links_of(p_workflow_id) WHERE v_has_links AND NOT v_is_dense
        ) AS link
        INNER JOIN spot AS target ON target.id = link.job_id
        INNER JOIN spot AS source ON source.id = link.depends_on
    )

    SELECT edge.*
    FROM (
        SELECT
            placed.source,
            placed.target,
            count(*) FILTER (WHERE kind = 1) AS jobs,
            count(*) FILTER (WHERE kind = 2) AS files,
            count(*) FILTER (WHERE kind = 3) AS data
        FROM placed
        GROUP BY placed.source, placed.target
        OFFSET 0  -- the condition is not to be checked for each dependency
    ) AS edge
    WHERE edge.source >= 0 AND edge.target >= 0;
END
$$;

-- All jobs and dependencies of a workflow as lists of numbers, from which the dashboard folds the graph by level:
-- {"workflow", "version", "ids": ascending, "statuses": names of those that occur, "status": the place of each job's
-- among these, "work_s": how long a job of its requirement takes, see dashboard_times(), 0 for what is complete,
-- "is_measured", "source", "target": places of jobs, and "kind", for each dependency}. 100,000 jobs: 0.25 s of CPU, 4
-- MB. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_graph_lists(p_workflow_id bigint, p_caller torc.caller)
RETURNS json
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_statuses text[] := enum_range(NULL::torc.job_status)::text[];
    v_jobs record;
    v_links record;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    SELECT
        coalesce(array_agg(job.id ORDER BY job.id), '{}') AS ids,
        array_agg(job.place ORDER BY job.id) AS places,
        array_agg(job.status ORDER BY job.id) AS status,
        array_agg(job.work_s ORDER BY job.id) AS work_s,
        bool_or(is_measured) AS is_measured
    INTO v_jobs
    FROM (
        SELECT
            one.id,
            (row_number() OVER (ORDER BY one.id) - 1)::integer AS place,
            array_position(v_statuses, one.status::text) - 1 AS status,
            CASE
                WHEN torc.is_complete(one.status) OR one.status = 'disabled' THEN 0
                ELSE coalesce(kind.work_s, 0)  -- NULL: the requirement is another workflow's
            END AS work_s,
            kind.is_measured
        FROM (
            SELECT id, status, resource_requirements_id FROM torc.job WHERE workflow_id = p_workflow_id
        ) AS one
        LEFT JOIN (
            SELECT
                requirement.id,
                round(coalesce(known.seconds, requirement.runtime_s))::bigint AS work_s,
                known.seconds IS NOT NULL AS is_measured
            FROM (
                SELECT id, runtime_s FROM torc.resource_requirements WHERE workflow_id = p_workflow_id
            ) AS requirement
            LEFT JOIN torc.dashboard_times(p_workflow_id) AS known ON known.requirement_id = requirement.id
        ) AS kind ON kind.id = one.resource_requirements_id
    ) AS job;
    SELECT
        coalesce(array_agg(source), '{}') AS source,
        coalesce(array_agg(target), '{}') AS target,
        coalesce(array_agg(CASE
            WHEN data >= greatest(jobs, 1) THEN 3
            WHEN files >= greatest(jobs, 1) THEN 2
            ELSE 1
        END), '{}') AS kind
    INTO v_links
    FROM torc.dashboard_placed_links(p_workflow_id, v_jobs.ids, v_jobs.places);
    RETURN json_build_object(
        'workflow', (
            SELECT json_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
        ),
        'version', torc.dashboard_version(p_workflow_id),
        'ids', v_jobs.ids,
        'statuses', v_statuses,
        'status', v_jobs.status,
        'work_s', v_jobs.work_s,
        'is_measured', v_jobs.is_measured,
        'source', v_links.source,
        'target', v_links.target,
        'kind', v_links.kind
    );
END
$$;

-- Edges between jobs whose ids are in a range, as (job_id, depends_on, kind): 1 for each dependency, 2 for each pair of
-- which one writes a file that the other reads, 3 likewise for user data. Inlined. Jobs of other workflows may be in
-- it.
CREATE OR REPLACE FUNCTION torc.dashboard_links_between(
    p_first bigint,
    p_last bigint,
    p_has_links boolean
)
RETURNS TABLE (job_id bigint, depends_on bigint, kind integer)
LANGUAGE sql STABLE
AS $$
    SELECT edge.job_id, edge.depends_on_job_id, 1
    FROM torc.job_depends_on AS edge
    WHERE edge.job_id BETWEEN p_first AND p_last AND edge.depends_on_job_id BETWEEN p_first AND p_last
    UNION ALL
    SELECT DISTINCT reader.job_id, writer.job_id, 2
    FROM (SELECT * FROM torc.job_output_file WHERE p_has_links AND job_id BETWEEN p_first AND p_last) AS writer
    INNER JOIN torc.job_input_file AS reader ON reader.file_id = writer.file_id
    WHERE reader.job_id BETWEEN p_first AND p_last
    UNION ALL
    SELECT DISTINCT reader.job_id, writer.job_id, 3
    FROM (SELECT * FROM torc.job_output_user_data WHERE p_has_links AND job_id BETWEEN p_first AND p_last) AS writer
    INNER JOIN torc.job_input_user_data AS reader ON reader.user_data_id = writer.user_data_id
    WHERE reader.job_id BETWEEN p_first AND p_last
$$;

-- The dependencies between jobs by files (kind 2) and user data (kind 3), for a whole workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_links_of(p_workflow_id bigint)
RETURNS TABLE (job_id bigint, depends_on bigint, kind integer)
LANGUAGE sql STABLE
AS $$
    SELECT DISTINCT reader.job_id, writer.job_id, 2
    FROM (SELECT id FROM torc.file WHERE workflow_id = p_workflow_id) AS file
    CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_file WHERE file_id = file.id OFFSET 0) AS writer
    CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_file WHERE file_id = file.id OFFSET 0) AS reader
    UNION ALL
    SELECT DISTINCT reader.job_id, writer.job_id, 3
    FROM (SELECT id FROM torc.user_data WHERE workflow_id = p_workflow_id) AS data
    CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_user_data WHERE user_data_id = data.id OFFSET 0) AS writer
    CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_user_data WHERE user_data_id = data.id OFFSET 0) AS reader
$$;
