-- name: create_job(workflow_id, jobs, caller, enforced, dialect)
SELECT job FROM torc.create_jobs(:workflow_id, :jobs::json, (:caller, :enforced, :dialect)::torc.caller) AS job;

-- name: create_jobs(workflow_id, piece, caller, enforced, dialect)
-- One array of jobs, a piece of a bulk; their answers with commas between them.
SELECT string_agg(job, ',')
FROM torc.create_jobs(:workflow_id, :piece::json, (:caller, :enforced, :dialect)::torc.caller) AS job;

-- name: get_job(job_id, caller, enforced, dialect)
SELECT torc.get_job(:job_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_jobs(workflow_id, status, needs_file_id, upstream_job_id, active_compute_node_id, include_relationships, origin_is_set, name, command, labels, offset, limit, caller, enforced, dialect)
-- Jobs of a workflow, one page; served by job_workflow_id_idx, with a status by job_workflow_id_status_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
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
                SELECT 1
                FROM torc.job_depends_on
                WHERE job_id = job.id AND depends_on_job_id = :upstream_job_id
                OFFSET 0
            )
        )
        AND (:active_compute_node_id::bigint IS NULL OR active_compute_node_id = :active_compute_node_id)
        AND (:origin_is_set::boolean IS NULL OR (origin IS NOT NULL) = :origin_is_set)
        AND (:name::text IS NULL OR torc.contains_text(name, :name))
        AND (:command::text IS NULL OR torc.contains_text(command, :command))
        AND (
            :labels::text IS NULL
            OR CASE
                WHEN :labels = '' THEN labels = ''
                ELSE labels <> '' AND string_to_array(labels, ',') <@ string_to_array(:labels, ',')
            END
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT CASE
        -- not job_with_relations_json(), which takes twice as long for 20,000 jobs
        WHEN :include_relationships::boolean THEN torc.job_json(
            item,
            CASE
                WHEN has_dependencies OR has_links
                    THEN ARRAY(SELECT depends_on_job_id FROM torc.job_depends_on WHERE job_id = matching.id ORDER BY 1)
            END,
            CASE
                WHEN has_links
                    THEN ARRAY(SELECT file_id FROM torc.job_input_file WHERE job_id = matching.id ORDER BY 1)
            END,
            CASE
                WHEN has_links
                    THEN ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = matching.id ORDER BY 1)
            END,
            CASE
                WHEN has_links
                    THEN ARRAY(SELECT user_data_id FROM torc.job_input_user_data WHERE job_id = matching.id ORDER BY 1)
            END,
            CASE
                WHEN has_links
                    THEN ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = matching.id ORDER BY 1)
            END
        )
        ELSE torc.job_json(item)
    END::text
    FROM matching
    ORDER BY {order_by}
    LIMIT :limit OFFSET :offset
);

-- name: update_job(job_id, body, caller, enforced, dialect)
SELECT torc.update_job(:job_id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_job(job_id, caller, enforced, dialect)
SELECT torc.delete_job(:job_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_jobs(workflow_id, caller, enforced, dialect)
SELECT torc.delete_jobs(:workflow_id, (:caller, :enforced, :dialect)::torc.caller);

-- name: start_job(job_id, run_id, compute_node_id, caller, enforced, dialect)
SELECT torc.start_job(:job_id, :run_id, :compute_node_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: complete_job(job_id, status, run_id, result, caller, enforced, dialect)
SELECT torc.complete_job(
    :job_id, :status::torc.job_status, :run_id, :result::jsonb, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: batch_complete_jobs(workflow_id, completions, caller, enforced, dialect)
SELECT torc.batch_complete_jobs(:workflow_id, :completions::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: spawn_jobs(job_id, request, caller, enforced, dialect)
SELECT torc.spawn_jobs(:job_id, :request::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: manage_status_change(job_id, status, run_id, caller, enforced, dialect)
SELECT torc.manage_status_change(
    :job_id, :status::torc.job_status, :run_id, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: retry_job(job_id, run_id, max_retries, caller, enforced, dialect)
SELECT torc.retry_job(:job_id, :run_id, :max_retries, (:caller, :enforced, :dialect)::torc.caller)::text;
