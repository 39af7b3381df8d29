-- What must never be: zero rows, always. For operators and tests; reads only. NULL checks all workflows.
CREATE OR REPLACE FUNCTION torc.check_invariants(p_workflow_id bigint DEFAULT NULL)
RETURNS TABLE (job_id bigint, violation text)
LANGUAGE sql STABLE
AS $$
    WITH counted AS (
        SELECT
            job.id,
            job.status,
            job.open_dependencies,
            job.failed_dependencies,
            job.canceled_by_dependency,
            count(dependency.id) FILTER (WHERE NOT torc.is_complete(dependency.status)) AS open_by_edges,
            count(dependency.id) FILTER (WHERE torc.is_failed(dependency.status)) AS failed_by_edges
        FROM torc.job AS job
        LEFT JOIN torc.job_depends_on AS edge ON edge.job_id = job.id
        LEFT JOIN torc.job AS dependency ON dependency.id = edge.depends_on_job_id
        WHERE p_workflow_id IS NULL OR job.workflow_id = p_workflow_id
        GROUP BY job.id
    )

    SELECT id, format('open_dependencies is %s, the edges say %s', open_dependencies, open_by_edges)
    FROM counted
    WHERE open_dependencies <> open_by_edges
    UNION ALL
    SELECT id, format('failed_dependencies is %s, the edges say %s', failed_dependencies, failed_by_edges)
    FROM counted
    WHERE failed_dependencies <> failed_by_edges
    UNION ALL
    SELECT id, 'blocked, but nothing is open'
    FROM counted
    WHERE status = 'blocked' AND open_by_edges = 0
    UNION ALL
    SELECT id, 'canceled by dependency, but no dependency failed or one is open again'
    FROM counted
    WHERE canceled_by_dependency AND (failed_by_edges = 0 OR open_by_edges > 0)
    UNION ALL
    SELECT id, 'has relations, but answers and hashes do not look for them'
    FROM torc.job AS job
    WHERE (p_workflow_id IS NULL OR workflow_id = p_workflow_id)
        AND NOT has_links
        AND (
            NOT has_dependencies AND EXISTS (SELECT 1 FROM torc.job_depends_on AS edge WHERE edge.job_id = job.id)
            OR EXISTS (SELECT 1 FROM torc.job_input_file AS link WHERE link.job_id = job.id)
            OR EXISTS (SELECT 1 FROM torc.job_output_file AS link WHERE link.job_id = job.id)
            OR EXISTS (SELECT 1 FROM torc.job_input_user_data AS link WHERE link.job_id = job.id)
            OR EXISTS (SELECT 1 FROM torc.job_output_user_data AS link WHERE link.job_id = job.id)
        )
    UNION ALL
    SELECT edge.job_id, format('depends on %s: %s', edge.depends_on_job_id, CASE
        WHEN job.id IS NULL THEN 'the job itself is missing'
        WHEN dependency.id IS NULL THEN 'which is missing'
        WHEN edge.job_id = edge.depends_on_job_id THEN 'which is itself'
        ELSE 'which is in another workflow'
    END)
    FROM torc.job_depends_on AS edge
    LEFT JOIN torc.job AS job ON job.id = edge.job_id
    LEFT JOIN torc.job AS dependency ON dependency.id = edge.depends_on_job_id
    WHERE (p_workflow_id IS NULL OR p_workflow_id IN (job.workflow_id, dependency.workflow_id))
        AND (
            job.id IS NULL OR dependency.id IS NULL OR edge.job_id = edge.depends_on_job_id
            OR job.workflow_id <> dependency.workflow_id
        )
$$;
