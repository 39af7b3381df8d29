-- The dashboard's picture of a workflow's graph. In small workflows each job is a node. In larger ones the jobs
-- whose names differ only in digits are one node, until somebody unfolds it.

-- {"workflow", "total", "folded", "nodes": […], "edges": […]}. A node has key, label, jobs, counts by status, work_s
-- (the longest runtime asked for by one of its jobs that is not complete), and id if it is one job; an edge has the
-- places of its ends among the nodes ("source", "target"), and how many dependencies it means: all, by files, by user
-- data. p_fold_above: workflows of more jobs are folded. p_open: keys of the nodes to unfold. One of more than 200 jobs
-- becomes one node for each status, which can be unfolded in turn. No more than p_most nodes are made of names: the
-- smallest ones are put together as "…".
-- 100,000 jobs with 250,000 dependencies: 0.5 s of CPU. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.dashboard_graph(
    p_workflow_id bigint,
    p_open text[],
    p_fold_above integer,
    p_most integer,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
SET work_mem = '64MB'
AS $$
DECLARE
    v_total bigint;
    v_first bigint;
    v_last bigint;
    v_is_dense boolean;
    v_has_links boolean;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    SELECT count(*), min(id), max(id) INTO v_total, v_first, v_last FROM torc.job WHERE workflow_id = p_workflow_id;
    -- Ids of a workflow mostly follow each other. Then the edges are a range of their index: 100,000 look-ups less.
    v_is_dense := v_last - v_first < 2 * v_total;
    v_has_links := EXISTS (SELECT 1 FROM torc.file WHERE workflow_id = p_workflow_id)
        OR EXISTS (SELECT 1 FROM torc.user_data WHERE workflow_id = p_workflow_id);
    RETURN (
        WITH member AS MATERIALIZED (
            SELECT
                id,
                status,
                resource_requirements_id,
                CASE WHEN v_total > p_fold_above THEN regexp_replace(name, '[0-9]+', '*', 'g') ELSE '' END AS pattern
            FROM torc.job
            WHERE workflow_id = p_workflow_id
        ),

        -- The jobs of one name and one status: they are shown alike.
        alike AS MATERIALIZED (
            SELECT
                counted.pattern,
                counted.status,
                sum(counted.jobs)::bigint AS jobs,
                min(counted.first) AS first,
                max(requirement.runtime_s) FILTER (
                    WHERE NOT torc.is_complete(counted.status) AND counted.status <> 'disabled'
                ) AS work_s
            FROM (
                SELECT pattern, status, resource_requirements_id, count(*) AS jobs, min(id) AS first
                FROM member
                GROUP BY pattern, status, resource_requirements_id
            ) AS counted
            CROSS JOIN LATERAL (
                SELECT runtime_s FROM torc.resource_requirements WHERE id = counted.resource_requirements_id OFFSET 0
            ) AS requirement
            GROUP BY counted.pattern, counted.status
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
                alike.*,
                CASE
                    WHEN v_total <= p_fold_above THEN NULL
                    WHEN pattern.is_rest THEN '…'
                    WHEN NOT pattern.is_open THEN alike.pattern
                    WHEN pattern.jobs <= 200 THEN NULL
                    WHEN alike.jobs <= 200 AND alike.pattern || ' ' || alike.status = ANY (p_open) THEN NULL
                    ELSE alike.pattern || ' ' || alike.status
                END AS key
            FROM alike
            INNER JOIN pattern ON pattern.pattern = alike.pattern
        ),

        node AS MATERIALIZED (
            SELECT *, row_number() OVER (ORDER BY first) - 1 AS place
            FROM (
                SELECT
                    key, sum(jobs) AS jobs, min(first) AS first, jsonb_object_agg(status, jobs) AS counts,
                    max(work_s) AS work_s
                FROM (
                    SELECT key, status, sum(jobs) AS jobs, min(first) AS first, max(work_s) AS work_s
                    FROM shown
                    WHERE key IS NOT NULL
                    GROUP BY key, status
                ) AS of_status
                GROUP BY key
                UNION ALL
                SELECT
                    'job ' || member.id, 1, member.id, jsonb_build_object(member.status, 1),
                    CASE WHEN shown.work_s IS NOT NULL THEN (
                        SELECT runtime_s FROM torc.resource_requirements WHERE id = member.resource_requirements_id
                    ) END
                FROM member
                INNER JOIN shown ON shown.pattern = member.pattern AND shown.status = member.status
                WHERE shown.key IS NULL
            ) AS made
        ),

        spot AS MATERIALIZED (
            SELECT member.id, node.place
            FROM member
            INNER JOIN shown ON shown.pattern = member.pattern AND shown.status = member.status
            INNER JOIN node ON node.key = coalesce(shown.key, 'job ' || member.id)
        ),

        link AS (
            SELECT edge.job_id, edge.depends_on_job_id AS depends_on, 'all' AS kind
            FROM torc.job_depends_on AS edge
            WHERE v_is_dense AND edge.job_id BETWEEN v_first AND v_last
            UNION ALL
            SELECT spot.id, edge.job_id, 'all'
            FROM (SELECT id FROM spot WHERE NOT v_is_dense) AS spot
            CROSS JOIN LATERAL torc.dependencies_of(spot.id) AS edge
            UNION ALL
            SELECT DISTINCT reader.job_id, writer.job_id, 'file'
            FROM (SELECT id FROM torc.file WHERE v_has_links AND workflow_id = p_workflow_id) AS file
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_file WHERE file_id = file.id OFFSET 0) AS writer
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_file WHERE file_id = file.id OFFSET 0) AS reader
            UNION ALL
            SELECT DISTINCT reader.job_id, writer.job_id, 'data'
            FROM (SELECT id FROM torc.user_data WHERE v_has_links AND workflow_id = p_workflow_id) AS data
            CROSS JOIN LATERAL (
                SELECT job_id FROM torc.job_output_user_data WHERE user_data_id = data.id OFFSET 0
            ) AS writer
            CROSS JOIN LATERAL (
                SELECT job_id FROM torc.job_input_user_data WHERE user_data_id = data.id OFFSET 0
            ) AS reader
        ),

        edge AS (
            SELECT
                source.place AS source,
                target.place AS target,
                count(*) FILTER (WHERE link.kind = 'all') AS jobs,
                count(*) FILTER (WHERE link.kind = 'file') AS files,
                count(*) FILTER (WHERE link.kind = 'data') AS data
            FROM link
            INNER JOIN spot AS target ON target.id = link.job_id
            INNER JOIN spot AS source ON source.id = link.depends_on
            GROUP BY source.place, target.place
        )

        SELECT jsonb_build_object(
            'workflow', (
                SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = p_workflow_id
            ),
            'total', v_total,
            'folded', v_total > p_fold_above,
            'nodes', coalesce((
                SELECT jsonb_agg(
                    jsonb_build_object(
                        'key', node.key,
                        'label', CASE
                            WHEN node.jobs = 1 THEN (SELECT name FROM torc.job WHERE id = node.first) ELSE node.key
                        END,
                        'id', CASE WHEN node.jobs = 1 THEN node.first END,
                        'jobs', node.jobs,
                        'counts', node.counts,
                        'work_s', node.work_s
                    )
                    ORDER BY node.place
                )
                FROM node
            ), '[]'),
            'edges', coalesce((SELECT jsonb_agg(to_jsonb(edge) ORDER BY source, target) FROM edge), '[]')
        )
    );
END
$$;
