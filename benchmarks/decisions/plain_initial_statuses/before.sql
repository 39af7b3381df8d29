-- The jobs are joined with themselves to say what status they had.
CREATE OR REPLACE FUNCTION torc.set_initial_statuses(
    p_workflow_id bigint,
    p_only_uninitialized boolean,
    p_count boolean,
    p_kept_ids bigint[]
)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_left_complete boolean;
BEGIN
    WITH target AS (
        SELECT
            job.id,
            job.status AS old_status,
            torc.initial_status(job.status, dependencies.open, p_only_uninitialized) AS status,
            dependencies.open AS open_dependencies
        FROM torc.job AS job
        LEFT JOIN torc.count_all_dependencies(p_workflow_id) AS counted ON p_count AND counted.job_id = job.id
        CROSS JOIN LATERAL (
            SELECT coalesce(counted.open_dependencies, job.open_dependencies) AS open
        ) AS dependencies
        WHERE job.workflow_id = p_workflow_id AND job.id <> ALL (p_kept_ids)
    ),

    moved AS (
        UPDATE torc.job AS job
        SET
            status = target.status,
            ready_at = clock_timestamp(),
            open_dependencies = target.open_dependencies,
            active_compute_node_id = NULL,
            canceled_by_dependency = false
        FROM target
        WHERE job.id = target.id AND job.workflow_id = p_workflow_id AND job.status <> target.status
        RETURNING target.old_status
    )

    SELECT coalesce(bool_or(torc.is_complete(old_status)), false) INTO v_left_complete FROM moved;
    RETURN v_left_complete;
END
$$;
