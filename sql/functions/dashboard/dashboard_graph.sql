-- The dashboard's picture of a workflow's graph. In small workflows each job is a node. In larger ones the jobs
-- whose names differ only in digits are one node, or the jobs of one level, until somebody unfolds it.

-- {"workflow", "version", "total", "folded", "ahead": see dashboard_ahead(), "nodes": […], "edges": […]}. A node has
-- key, label, jobs, counts by status, and id if it is one job; an edge has the places of its ends among the nodes
-- ("source", "target"), and how many dependencies it means: explicit ("jobs"), by files, by user data. p_fold_above:
-- workflows of more jobs are folded, by name; p_by_level: folded by level, see dashboard_levels(). p_open: keys of the
-- nodes to unfold. One of more than 200 jobs becomes one node for each status, which can be unfolded in turn. No more
-- than p_most nodes are made of names or levels: the smallest names are put together as "…". 100,000 jobs with 200,000
-- dependencies: 0.25 s of CPU by name, 0.45 s by level. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_graph(
    p_workflow_id bigint,
    p_open text[],
    p_fold_above integer,
    p_by_level boolean,
    p_most integer,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    v_ids bigint[];
    v_is_folded boolean;
    v_level record;
    v_node record;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    v_ids := ARRAY(SELECT id FROM torc.job WHERE workflow_id = p_workflow_id ORDER BY id);
    v_is_folded := p_by_level OR cardinality(v_ids) > p_fold_above;
    SELECT * INTO v_level FROM torc.dashboard_levels(p_workflow_id, v_ids, p_most) WHERE p_by_level;
    SELECT * INTO v_node
    FROM torc.dashboard_graph_nodes(p_workflow_id, p_open, v_is_folded, p_most, v_level.levels, v_level.names);
    RETURN jsonb_build_object(
        'workflow', (
            SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
        ),
        'version', torc.dashboard_version(p_workflow_id),
        'total', cardinality(v_ids),
        'folded', v_is_folded,
        'ahead', torc.dashboard_ahead(p_workflow_id, torc.dashboard_counts(p_workflow_id)),
        'nodes', v_node.nodes,
        'edges', torc.dashboard_graph_edges(p_workflow_id, v_ids, v_node.places)
    );
END
$$;

-- The level of each job, as a number into names: the first depends on nothing, the second only on jobs of the first,
-- and so on. Neighbouring levels are put together so that there are fewer than p_most; jobs that wait for themselves
-- have the last name. p_ids: all jobs of the workflow, ascending.
CREATE OR REPLACE FUNCTION torc.dashboard_levels(
    p_workflow_id bigint,
    p_ids bigint[],
    p_most integer,
    OUT levels integer[],
    OUT names text[]
)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_numbers integer[] := ARRAY(SELECT generate_series(1, cardinality(p_ids)));
    v_by_id integer[] := torc.places_by_id(p_ids, v_numbers);
    v_depths double precision[];
    v_deepest integer;
    v_together integer;
BEGIN
    SELECT chain.lengths INTO v_depths
    FROM (
        SELECT coalesce(array_agg(source), '{}') AS sources, coalesce(array_agg(target), '{}') AS targets
        FROM (
            SELECT source, target
            FROM torc.dashboard_placed_links(p_workflow_id, p_ids, v_numbers, v_by_id)
            ORDER BY target
        ) AS sorted
        WHERE source > 0 AND target > 0
    ) AS link
    CROSS JOIN LATERAL torc.longest_chains(
        array_fill(1::double precision, ARRAY[cardinality(p_ids)]), link.sources, link.targets
    ) AS chain;
    v_deepest := (SELECT max(depth) FROM unnest(v_depths) AS depth);
    v_together := ceil(v_deepest / (p_most - 1.0));
    names := ARRAY(
        SELECT CASE WHEN first = last THEN 'level ' || first ELSE 'levels ' || first || ' to ' || last END
        FROM generate_series(1, v_deepest, v_together) AS first
        CROSS JOIN LATERAL least(first + v_together - 1, v_deepest) AS last
        ORDER BY first
    ) || 'in circles'::text;
    levels := ARRAY(
        SELECT coalesce((depth::integer - 1) / v_together + 1, cardinality(names))
        FROM unnest(v_depths) WITH ORDINALITY AS job (depth, number)
        ORDER BY number
    );
END
$$;

-- The nodes, and of all jobs by id the place among them. p_levels, p_names: see dashboard_levels(); NULL: the jobs are
-- folded by name. Digits at the end of a name are cut off first: most names are alike then, and only those that differ
-- go through the regular expression, which takes three times as long.
CREATE OR REPLACE FUNCTION torc.dashboard_graph_nodes(
    p_workflow_id bigint,
    p_open text[],
    p_is_folded boolean,
    p_most integer,
    p_levels integer[],
    p_names text[],
    OUT nodes jsonb,
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
        SELECT id, status, stem, stem <> name AS is_numbered
        FROM (
            SELECT id, status, name, rtrim(name, '0123456789') AS stem
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND p_levels IS NULL
            OFFSET 0
        ) AS job
        UNION ALL
        SELECT id, status, p_levels[row_number() OVER (ORDER BY id)]::text, false
        FROM (SELECT id, status FROM torc.job WHERE workflow_id = p_workflow_id AND p_levels IS NOT NULL) AS job
    ),

    -- The jobs of one name, or one level, and one status: they are shown alike.
    alike AS MATERIALIZED (
        SELECT
            *,
            CASE
                WHEN p_levels IS NOT NULL THEN p_names[stem::integer]
                ELSE regexp_replace(stem, '[0-9]+', '*', 'g') || CASE WHEN is_numbered THEN '*' ELSE '' END
            END AS pattern
        FROM (
            SELECT stem, is_numbered, status, count(*) AS jobs, min(id) AS first
            FROM member
            GROUP BY stem, is_numbered, status
        ) AS grouped
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
            SELECT pattern, status, sum(jobs)::bigint AS jobs, min(first) AS first
            FROM alike
            GROUP BY pattern, status
        ) AS of_status
        INNER JOIN pattern ON pattern.pattern = of_status.pattern
    ),

    kind AS MATERIALIZED (
        SELECT alike.stem, alike.is_numbered, alike.status, shown.key
        FROM alike
        INNER JOIN shown ON shown.pattern = alike.pattern AND shown.status = alike.status
    ),

    -- The jobs that are nodes by themselves.
    single AS MATERIALIZED (
        SELECT member.id, member.status
        FROM member
        INNER JOIN kind
            ON kind.stem = member.stem
            AND kind.is_numbered = member.is_numbered
            AND kind.status = member.status
        WHERE kind.key IS NULL
    ),

    node AS MATERIALIZED (
        SELECT *, (row_number() OVER (ORDER BY first) - 1)::integer AS place
        FROM (
            SELECT key, sum(jobs) AS jobs, min(first) AS first, jsonb_object_agg(status, jobs) AS counts
            FROM (
                SELECT key, status, sum(jobs) AS jobs, min(first) AS first
                FROM shown
                WHERE key IS NOT NULL
                GROUP BY key, status
            ) AS of_status
            GROUP BY key
            UNION ALL
            SELECT 'job ' || id, 1, id, jsonb_build_object(status, 1)
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
                    'counts', node.counts
                )
                ORDER BY node.place
            )
            FROM node
        ), '[]'),
        array_agg(spot.place ORDER BY spot.id)
    INTO nodes, places
    FROM spot;
END
$$;

-- The edges between nodes. p_ids: all jobs of the workflow, ascending; p_places: their nodes.
CREATE OR REPLACE FUNCTION torc.dashboard_graph_edges(p_workflow_id bigint, p_ids bigint[], p_places integer[])
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_by_id integer[] := torc.places_by_id(p_ids, p_places);
BEGIN
    RETURN (
        SELECT coalesce(jsonb_agg(to_jsonb(edge) ORDER BY source, target), '[]')
        FROM (
            SELECT
                source,
                target,
                count(*) FILTER (WHERE kind = 1) AS jobs,
                count(*) FILTER (WHERE kind = 2) AS files,
                count(*) FILTER (WHERE kind = 3) AS data
            FROM torc.dashboard_placed_links(p_workflow_id, p_ids, p_places, v_by_id)
            GROUP BY source, target
            OFFSET 0  -- the condition is not to be checked for each dependency
        ) AS edge
        WHERE source >= 0 AND target >= 0
    );
END
$$;

-- The places of jobs as an array over all ids from the first to the last; -1: a job of another workflow. NULL if ids
-- are scattered.
CREATE OR REPLACE FUNCTION torc.places_by_id(p_ids bigint[], p_places integer[])
RETURNS integer[]
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN span = cardinality(p_ids) THEN p_places
        WHEN span < 2 * cardinality(p_ids) THEN ARRAY(
            SELECT coalesce(known.place, -1)
            FROM generate_series(p_ids[1], p_ids[cardinality(p_ids)]) AS id
            LEFT JOIN unnest(p_ids, p_places) AS known (id, place) USING (id)
            ORDER BY id
        )
    END
    FROM (SELECT p_ids[cardinality(p_ids)] - p_ids[1] + 1 AS span) AS size
$$;

-- The dependencies between jobs, as the places of their ends with their kind (see dashboard_links_between()). p_by_id:
-- see places_by_id(). Ids mostly follow each other: then the dependencies are a range of their index, and an array
-- tells the place of a job. That takes a third of the time of two hash joins, which are made where ids are scattered.
-- Inlined.
CREATE OR REPLACE FUNCTION torc.dashboard_placed_links(
    p_workflow_id bigint,
    p_ids bigint[],
    p_places integer[],
    p_by_id integer[]
)
RETURNS TABLE (source integer, target integer, kind integer)
LANGUAGE sql STABLE
AS $$
    SELECT
        p_by_id[(link.depends_on - p_ids[1] + 1)::integer], p_by_id[(link.job_id - p_ids[1] + 1)::integer], link.kind
    FROM torc.dashboard_links_between(p_ids[1], p_ids[cardinality(p_ids)]) AS link
    WHERE p_by_id IS NOT NULL
    UNION ALL
    SELECT source.place, target.place, link.kind
    FROM (
        SELECT given.id AS job_id, edge.job_id AS depends_on, 1 AS kind
        FROM unnest(p_ids) AS given (id)
        CROSS JOIN LATERAL torc.dependencies_of(given.id) AS edge
        UNION ALL
        SELECT * FROM torc.dashboard_links_of(p_workflow_id)
    ) AS link
    INNER JOIN unnest(p_ids, p_places) AS target (id, place) ON target.id = link.job_id
    INNER JOIN unnest(p_ids, p_places) AS source (id, place) ON source.id = link.depends_on
    WHERE p_by_id IS NULL
$$;

-- Edges between jobs whose ids are in a range, as (job_id, depends_on, kind): 1 for each dependency, 2 for each pair of
-- which one writes a file that the other reads, 3 likewise for user data. Inlined. Jobs of other workflows may be in
-- it.
CREATE OR REPLACE FUNCTION torc.dashboard_links_between(p_first bigint, p_last bigint)
RETURNS TABLE (job_id bigint, depends_on bigint, kind integer)
LANGUAGE sql STABLE
AS $$
    SELECT edge.job_id, edge.depends_on_job_id, 1
    FROM torc.job_depends_on AS edge
    WHERE edge.job_id BETWEEN p_first AND p_last AND edge.depends_on_job_id BETWEEN p_first AND p_last
    UNION ALL
    SELECT DISTINCT reader.job_id, writer.job_id, 2
    FROM (SELECT * FROM torc.job_output_file WHERE job_id BETWEEN p_first AND p_last) AS writer
    INNER JOIN torc.job_input_file AS reader ON reader.file_id = writer.file_id
    WHERE reader.job_id BETWEEN p_first AND p_last
    UNION ALL
    SELECT DISTINCT reader.job_id, writer.job_id, 3
    FROM (SELECT * FROM torc.job_output_user_data WHERE job_id BETWEEN p_first AND p_last) AS writer
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
