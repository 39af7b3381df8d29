-- name: create_slurm_stats(body, caller, enforced, dialect)
SELECT torc.create_slurm_stats(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_slurm_stats(workflow_id, job_id, run_id, attempt_id, offset, limit, caller, enforced, dialect)
-- Slurm stats of a workflow, one page; served by slurm_stats_workflow_id_idx, with a job by its key.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT id, stats AS item
    FROM torc.slurm_stats AS stats
    WHERE workflow_id = :workflow_id
        AND (:job_id::bigint IS NULL OR job_id = :job_id)
        AND (:run_id::bigint IS NULL OR run_id = :run_id)
        AND (:attempt_id::bigint IS NULL OR attempt_id = :attempt_id)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.slurm_stats_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);
