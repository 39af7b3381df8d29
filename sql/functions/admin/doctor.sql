-- What `torc-server doctor` asks and repairs.

-- Pending and running jobs that no worker may have any more, with what is known of their compute node. reason:
--   inactive: the node was said, or found, to have ended;
--   silent: no request has named the node for p_silent seconds, and the running jobs have taken longer than they
--     asked for;
--   none: running on no node (it was deleted), or pending while no node of the workflow is active.
CREATE OR REPLACE FUNCTION torc.find_lost_jobs(p_silent double precision)
RETURNS TABLE (
    workflow_id bigint,
    reason text,
    compute_node_id bigint,
    hostname text,
    pid bigint,
    last_seen timestamptz,
    status torc.job_status,
    job_ids bigint[]
)
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN QUERY
    WITH taken AS (
        SELECT job.*
        FROM torc.workflow_status AS run
        CROSS JOIN LATERAL (
            SELECT *
            FROM torc.job
            WHERE job.workflow_id = run.workflow_id AND torc.is_active(job.status)
            OFFSET 0
        ) AS job
    ),

    judged AS (
        SELECT
            taken.workflow_id,
            CASE
                WHEN node.id IS NULL AND taken.status = 'running' THEN 'none'
                WHEN node.id IS NULL AND NOT EXISTS (
                    SELECT 1
                    FROM torc.compute_node AS other
                    WHERE other.workflow_id = taken.workflow_id AND other.is_active
                ) THEN 'none'
                WHEN node.id IS NOT NULL AND node.is_active IS NOT TRUE THEN 'inactive'
                WHEN torc.is_silent(node, p_silent, '-infinity') THEN 'silent'
            END AS reason,
            node.id AS node_id,
            node.hostname,
            node.pid,
            node.last_seen,
            taken.status,
            taken.id
        FROM taken
        LEFT JOIN LATERAL (
            SELECT * FROM torc.compute_node WHERE compute_node.id = taken.active_compute_node_id OFFSET 0
        ) AS node ON true
        WHERE taken.status = 'running' OR coalesce(taken.claimed_at < torc.now() - interval '10 minutes', true)
    )

    SELECT
        judged.workflow_id, judged.reason, judged.node_id, judged.hostname, judged.pid, judged.last_seen, judged.status,
        array_agg(judged.id ORDER BY judged.id)
    FROM judged
    WHERE judged.reason IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5, 6, 7
    ORDER BY 1, 3, 7;
END
$$;

-- Sets the counters of a workflow's jobs from its edges; what should have been released or taken back then follows, as
-- recount_dependencies() says. Does nothing to a workflow that is gone. Locks: workflow exclusive.
CREATE OR REPLACE FUNCTION torc.repair_counters(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, NULL);
    PERFORM torc.recount_dependencies(p_workflow_id);
    PERFORM torc.audit(
        NULL, 'repair_counters', format('SELECT torc.repair_counters(%s)', p_workflow_id), p_workflow_id
    );
END
$$;
