-- name: create_job(workflow_id, jobs, caller, enforced)
SELECT job::text FROM torc.create_jobs(:workflow_id, :jobs::json, (:caller, :enforced)::torc.caller) AS job;

-- name: create_jobs(workflow_id, piece, caller, enforced)
-- One array of jobs, a piece of a bulk; their answers with commas between them.
SELECT string_agg(job::text, ',')
FROM torc.create_jobs(:workflow_id, :piece::json, (:caller, :enforced)::torc.caller) AS job;

-- name: get_job(job_id, caller, enforced)
SELECT torc.get_job(:job_id, (:caller, :enforced)::torc.caller)::text;

-- name: list_jobs(workflow_id, status, needs_file_id, upstream_job_id, active_compute_node_id, include_relationships, offset, limit, caller, enforced)
-- Jobs of a workflow, one page; served by job_workflow_id_idx, with a status by job_workflow_id_status_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT job.*, job AS item
    FROM torc.job AS job
    WHERE workflow_id = :workflow_id
        AND (:status::torc.job_status IS NULL OR status = :status::torc.job_status)
        AND (
            :needs_file_id::bigint IS NULL
            OR EXISTS (SELECT 1 FROM torc.job_input_file WHERE job_id = job.id AND file_id = :needs_file_id OFFSET 0)
        )
        AND (
            :upstream_job_id::bigint IS NULL
            OR EXISTS (
                SELECT 1 FROM torc.job_depends_on WHERE job_id = job.id AND depends_on_job_id = :upstream_job_id OFFSET 0
            )
        )
        AND (:active_compute_node_id::bigint IS NULL OR active_compute_node_id = :active_compute_node_id)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT CASE
        WHEN :include_relationships::boolean THEN torc.job_json(
            item,
            ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = matching.id ORDER BY 1),
            ARRAY(SELECT file_id FROM torc.job_input_file WHERE job_id = matching.id ORDER BY 1),
            ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = matching.id ORDER BY 1),
            ARRAY(SELECT user_data_id FROM torc.job_input_user_data WHERE job_id = matching.id ORDER BY 1),
            ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = matching.id ORDER BY 1)
        )
        ELSE torc.job_json(item)
    END::text
    FROM matching
    ORDER BY {order_by}
    LIMIT :limit OFFSET :offset
);

-- name: update_job(job_id, body, caller, enforced)
SELECT torc.update_job(:job_id, :body::jsonb, (:caller, :enforced)::torc.caller)::text;

-- name: delete_job(job_id, caller, enforced)
SELECT torc.delete_job(:job_id, (:caller, :enforced)::torc.caller)::text;

-- name: delete_jobs(workflow_id, caller, enforced)
SELECT torc.delete_jobs(:workflow_id, (:caller, :enforced)::torc.caller);

-- name: start_job(job_id, run_id, compute_node_id, caller, enforced)
SELECT torc.start_job(:job_id, :run_id, :compute_node_id, (:caller, :enforced)::torc.caller)::text;

-- name: complete_job(job_id, status, run_id, result, caller, enforced)
SELECT torc.complete_job(
    :job_id, :status::torc.job_status, :run_id, :result::jsonb, (:caller, :enforced)::torc.caller
)::text;

-- name: manage_status_change(job_id, status, run_id, caller, enforced)
SELECT torc.manage_status_change(
    :job_id, :status::torc.job_status, :run_id, (:caller, :enforced)::torc.caller
)::text;

-- name: retry_job(job_id, run_id, max_retries, caller, enforced)
SELECT torc.retry_job(:job_id, :run_id, :max_retries, (:caller, :enforced)::torc.caller)::text;
