-- The dashboard's picture of a workflow's graph. In small workflows each job is a node. In larger ones the jobs
-- whose names differ only in digits are one node, until somebody unfolds it.

-- {"workflow", "total", "folded", "nodes": […], "edges": […]}. A node has key, label, jobs, counts by status, work_s (the
-- longest runtime asked for by one of its jobs that is not complete), and id if it is one job; an edge has the places of
-- its ends among the nodes ("source", "target"), and how many dependencies it stands for: all, by files, by user data.
-- p_fold_above: workflows of more jobs are folded. p_open: keys of the nodes to unfold. One of more than 200 jobs becomes one node for each status, which can be unfolded
-- in turn. No more than p_most nodes are made of names: the smallest ones are put together as "…".
-- 100,000 jobs with 250,000 dependencies: about 1 s. Raises TC404, TC403.
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
    v_has_links boolean;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    v_total := (SELECT count(*) FROM torc.job WHERE workflow_id = p_workflow_id);
    v_has_links := EXISTS (SELECT 1 FROM torc.file WHERE workflow_id = p_workflow_id)
        OR EXISTS (SELECT 1 FROM torc.user_data WHERE workflow_id = p_workflow_id);
    RETURN (
        WITH member AS MATERIALIZED (
            SELECT
                id,
                name,
                status,
                resource_requirements_id,
                CASE WHEN v_total > p_fold_above THEN regexp_replace(name, '[0-9]+', '*', 'g') ELSE id::text END AS pattern
            FROM torc.job
            WHERE workflow_id = p_workflow_id
        ),

        pattern AS MATERIALIZED (
            SELECT pattern, count(*) AS jobs, row_number() OVER (ORDER BY count(*) DESC, pattern) > p_most AS is_rest
            FROM member
            GROUP BY pattern
        ),

        opened AS MATERIALIZED (
            SELECT
                pattern.pattern,
                member.status,
                pattern.jobs > 200 AS is_split,
                count(*) <= 200 AND (
                    pattern.jobs <= 200 OR pattern.pattern || ' ' || member.status = ANY (p_open)
                ) AS shows_jobs
            FROM pattern
            INNER JOIN member ON member.pattern = pattern.pattern
            WHERE pattern.pattern = ANY (p_open)
            GROUP BY pattern.pattern, pattern.jobs, member.status
        ),

        placed AS MATERIALIZED (
            SELECT
                member.*,
                CASE
                    WHEN v_total <= p_fold_above THEN 'job ' || member.id
                    WHEN pattern.is_rest THEN '…'
                    WHEN opened.shows_jobs THEN 'job ' || member.id
                    WHEN opened.is_split THEN member.pattern || ' ' || member.status
                    ELSE member.pattern
                END AS key
            FROM member
            INNER JOIN pattern ON pattern.pattern = member.pattern
            LEFT JOIN opened ON opened.pattern = member.pattern AND opened.status = member.status
        ),

        node AS MATERIALIZED (
            SELECT
                key,
                row_number() OVER (ORDER BY min(id)) - 1 AS place,
                count(*) AS jobs,
                min(id) AS id,
                min(name) AS name
            FROM placed
            GROUP BY key
        ),

        counted AS (
            SELECT key, jsonb_object_agg(status, jobs) AS counts, max(work_s) AS work_s
            FROM (
                SELECT
                    placed.key,
                    placed.status,
                    count(*) AS jobs,
                    max(requirement.runtime_s) FILTER (
                        WHERE NOT torc.is_complete(placed.status) AND placed.status <> 'disabled'
                    ) AS work_s
                FROM placed
                INNER JOIN (
                    SELECT id, runtime_s FROM torc.resource_requirements WHERE workflow_id = p_workflow_id
                ) AS requirement ON requirement.id = placed.resource_requirements_id
                GROUP BY placed.key, placed.status
            ) AS of_status
            GROUP BY key
        ),

        spot AS MATERIALIZED (
            SELECT placed.id, node.place FROM placed INNER JOIN node ON node.key = placed.key
        ),

        link AS (
            SELECT spot.id AS job_id, edge.job_id AS depends_on, 'all' AS kind
            FROM spot
            CROSS JOIN LATERAL torc.dependencies_of(spot.id) AS edge
            UNION ALL
            SELECT DISTINCT reader.job_id, writer.job_id, 'file'
            FROM (SELECT id FROM torc.file WHERE v_has_links AND workflow_id = p_workflow_id) AS file
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_file WHERE file_id = file.id OFFSET 0) AS writer
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_file WHERE file_id = file.id OFFSET 0) AS reader
            UNION ALL
            SELECT DISTINCT reader.job_id, writer.job_id, 'data'
            FROM (SELECT id FROM torc.user_data WHERE v_has_links AND workflow_id = p_workflow_id) AS data
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_user_data WHERE user_data_id = data.id OFFSET 0) AS writer
            CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_user_data WHERE user_data_id = data.id OFFSET 0) AS reader
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
                        'label', CASE WHEN node.jobs = 1 THEN node.name ELSE node.key END,
                        'id', CASE WHEN node.jobs = 1 THEN node.id END,
                        'jobs', node.jobs,
                        'counts', counted.counts,
                        'work_s', counted.work_s
                    )
                    ORDER BY node.place
                )
                FROM node
                INNER JOIN counted ON counted.key = node.key
            ), '[]'),
            'edges', coalesce((SELECT jsonb_agg(to_jsonb(edge) ORDER BY source, target) FROM edge), '[]')
        )
    );
END
$$;
