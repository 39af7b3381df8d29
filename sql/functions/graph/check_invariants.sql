-- Returns one row per violated invariant; must always be empty. For operators and tests; reads only. NULL checks all
-- workflows. job_id is NULL for an action.
CREATE OR REPLACE FUNCTION torc.check_invariants(p_workflow_id bigint DEFAULT NULL)
RETURNS TABLE (job_id bigint, violation text)
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    RETURN QUERY
    SELECT broken.job_id, broken.violation
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.count_dependencies(job.id) AS counted
    CROSS JOIN LATERAL (
        SELECT
            job.id,
            format('open_dependencies is %s, the edges say %s', job.open_dependencies, counted.open_dependencies)
        WHERE job.open_dependencies <> counted.open_dependencies
        UNION ALL
        SELECT
            job.id,
            format('failed_dependencies is %s, the edges say %s', job.failed_dependencies, counted.failed_dependencies)
        WHERE job.failed_dependencies <> counted.failed_dependencies
        UNION ALL
        SELECT job.id, 'blocked, but nothing is open'
        WHERE job.status = 'blocked' AND counted.open_dependencies = 0
        UNION ALL
        SELECT job.id, 'canceled by dependency, but not canceled'
        WHERE job.canceled_by_dependency AND job.status <> 'canceled'
        UNION ALL
        SELECT job.id, 'canceled by dependency, but no dependency failed or one is open again'
        WHERE job.canceled_by_dependency AND (counted.failed_dependencies = 0 OR counted.open_dependencies > 0)
        UNION ALL
        SELECT job.id, 'has relations, but has_links or has_dependencies is false'
        WHERE NOT job.has_links
            AND EXISTS (
                SELECT 1
                FROM torc.job_relations(job.id) AS relation
                WHERE relation.ids <> '{}' AND NOT (relation.field = 'depends_on_job_ids' AND job.has_dependencies)
                OFFSET 0
            )
        UNION ALL
        SELECT job.id, format('depends on %s: which is %s', edge.job_id, CASE
            WHEN other.workflow_id IS NULL THEN 'missing'
            WHEN edge.job_id = job.id THEN 'itself'
            ELSE 'in another workflow'
        END)
        FROM torc.dependencies_of(job.id) AS edge
        CROSS JOIN LATERAL (SELECT (SELECT workflow_id FROM torc.job WHERE id = edge.job_id) AS workflow_id) AS other
        WHERE other.workflow_id IS DISTINCT FROM job.workflow_id OR edge.job_id = job.id
        UNION ALL
        SELECT edge.job_id, format('depends on %s: the job itself is missing', job.id)
        FROM torc.dependents_of(job.id) AS edge
        WHERE NOT EXISTS (SELECT 1 FROM torc.job WHERE id = edge.job_id OFFSET 0)
    ) AS broken (job_id, violation)
    WHERE p_workflow_id IS NULL OR job.workflow_id = p_workflow_id;

    IF p_workflow_id IS NULL THEN
        RETURN QUERY
        SELECT edge.job_id, format('depends on %s: both are missing', edge.depends_on_job_id)
        FROM torc.job_depends_on AS edge
        WHERE NOT EXISTS (SELECT 1 FROM torc.job WHERE id = edge.job_id OFFSET 0)
            AND NOT EXISTS (SELECT 1 FROM torc.job WHERE id = edge.depends_on_job_id OFFSET 0);
    END IF;
    RETURN QUERY SELECT reference.* FROM torc.check_references(p_workflow_id) AS reference;
    RETURN QUERY SELECT NULL::bigint, action.violation FROM torc.check_actions(p_workflow_id) AS action;
END
$$;

-- check_invariants() for actions: every listed job exists in the action's workflow, and workflow_action_job says the
-- same as job_ids.
CREATE OR REPLACE FUNCTION torc.check_actions(p_workflow_id bigint)
RETURNS TABLE (violation text)
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN QUERY
    WITH listed AS (
        SELECT action.id AS action_id, action.workflow_id, item.job_id, count(*) AS occurrences
        FROM torc.workflow_action AS action
        CROSS JOIN LATERAL unnest(action.job_ids) AS item (job_id)
        WHERE p_workflow_id IS NULL OR action.workflow_id = p_workflow_id
        GROUP BY action.id, item.job_id
    ),

    link AS (
        SELECT stored.*
        FROM torc.workflow_action AS action
        CROSS JOIN LATERAL (SELECT * FROM torc.workflow_action_job WHERE action_id = action.id OFFSET 0) AS stored
        WHERE p_workflow_id IS NULL OR action.workflow_id = p_workflow_id
    )

    SELECT format('action %s lists job %s, which is missing or in another workflow', listed.action_id, listed.job_id)
    FROM listed
    WHERE listed.workflow_id IS DISTINCT FROM (SELECT job.workflow_id FROM torc.job AS job WHERE job.id = listed.job_id)
    UNION ALL
    SELECT format(
        'action %s lists job %s %s times, workflow_action_job says %s',
        coalesce(listed.action_id, link.action_id), coalesce(listed.job_id, link.job_id),
        coalesce(listed.occurrences, 0), coalesce(link.occurrences, 0)
    )
    FROM listed
    FULL JOIN link ON link.action_id = listed.action_id AND link.job_id = listed.job_id
    WHERE listed.occurrences IS DISTINCT FROM link.occurrences;
END
$$;
