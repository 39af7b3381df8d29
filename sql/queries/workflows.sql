-- name: create_workflow(body, caller, enforced)
SELECT torc.create_workflow(:body::jsonb, (:caller, :enforced)::torc.caller)::text;

-- name: get_workflow(workflow_id, caller, enforced)
SELECT torc.workflow_json(workflow)::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS id) AS allowed
INNER JOIN torc.workflow AS workflow USING (id);

-- name: list_workflows(name, user, description, is_archived, offset, limit, caller, enforced)
-- Workflows that the caller may see, one page. Under access control: one's own, and those of one's groups; a system
-- administrator sees all. % and _ in a description mean themselves.
WITH allowed AS MATERIALIZED (
    SELECT NOT :enforced::boolean OR torc.is_system_admin(:caller) AS all_workflows
),

matching AS NOT MATERIALIZED (
    SELECT
        workflow.*,
        workflow.id AS status_id,
        status.run_id,
        status.is_archived,
        status.is_canceled,
        status.has_detected_need_to_run_completion_script,
        workflow AS item
    FROM torc.workflow AS workflow
    INNER JOIN torc.workflow_status AS status ON status.workflow_id = workflow.id
    WHERE (:name::text IS NULL OR name = :name)
        AND (:user::text IS NULL OR "user" = :user)
        AND (:is_archived::boolean IS NULL OR status.is_archived = :is_archived)
        AND (
            :description::text IS NULL
            OR description ILIKE '%%' || regexp_replace(:description, '([%%_\\])', '\\\1', 'g') || '%%'
        )
        AND (
            (SELECT all_workflows FROM allowed)
            OR :caller <> 'anonymous'
            AND (
                "user" = :caller
                OR EXISTS (
                    SELECT 1
                    FROM torc.workflow_access_group AS shared
                    INNER JOIN torc.user_group_membership AS member ON member.group_id = shared.group_id
                    WHERE shared.workflow_id = workflow.id AND member.user_name = :caller
                )
            )
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text
UNION ALL
(SELECT torc.workflow_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_workflow(workflow_id, name, user, description, compute_node_expiration_buffer_seconds, compute_node_wait_for_new_jobs_seconds, compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes, use_pending_failed, enable_ro_crate, project, metadata, slurm_config, execution_config, caller, enforced)
-- Keeps what is NULL. What is not named here cannot be changed after creation.
UPDATE torc.workflow AS workflow
SET
    name = :name,
    "user" = :user,
    description = coalesce(:description, description),
    compute_node_expiration_buffer_seconds
    = coalesce(:compute_node_expiration_buffer_seconds, compute_node_expiration_buffer_seconds),
    compute_node_wait_for_new_jobs_seconds
    = coalesce(:compute_node_wait_for_new_jobs_seconds, compute_node_wait_for_new_jobs_seconds),
    compute_node_ignore_workflow_completion
    = coalesce(:compute_node_ignore_workflow_completion, compute_node_ignore_workflow_completion),
    compute_node_wait_for_healthy_database_minutes
    = coalesce(:compute_node_wait_for_healthy_database_minutes, compute_node_wait_for_healthy_database_minutes),
    use_pending_failed = coalesce(:use_pending_failed, use_pending_failed),
    enable_ro_crate = coalesce(:enable_ro_crate, enable_ro_crate),
    project = coalesce(:project, project),
    metadata = coalesce(:metadata, metadata),
    slurm_config = coalesce(:slurm_config, slurm_config),
    execution_config = coalesce(:execution_config, execution_config)
FROM (
    SELECT id, (SELECT "user" FROM torc.workflow AS old WHERE old.id = :workflow_id) AS old_user
    FROM torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS id
) AS allowed
WHERE workflow.id = allowed.id AND torc.may_set_user(workflow."user", :user, (:caller, :enforced)::torc.caller)
RETURNING
    torc.workflow_json(workflow)::text,
    torc.audit_owner(workflow, allowed.old_user, (:caller, :enforced)::torc.caller);

-- name: delete_workflow(workflow_id, caller, enforced)
SELECT torc.delete_workflow(:workflow_id, (:caller, :enforced)::torc.caller)::text;

-- name: get_workflow_status(workflow_id, caller, enforced)
SELECT torc.workflow_status_json(torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller))::text;

-- name: update_workflow_status(workflow_id, run_id, is_canceled, is_archived, has_detected_need_to_run_completion_script, caller, enforced)
SELECT torc.update_workflow_status(
    :workflow_id, :run_id, :is_canceled, coalesce(:is_archived::boolean, false),
    coalesce(:has_detected_need_to_run_completion_script::boolean, false), (:caller, :enforced)::torc.caller
);

-- name: cancel_workflow(workflow_id, caller, enforced)
SELECT torc.cancel_workflow(:workflow_id, (:caller, :enforced)::torc.caller)::text;

-- name: initialize_jobs(workflow_id, only_uninitialized, clear_ephemeral_user_data, keep_running, caller, enforced)
SELECT torc.initialize_jobs(
    :workflow_id, :only_uninitialized, :clear_ephemeral_user_data, :keep_running,
    (:caller, :enforced)::torc.caller
)::text;

-- name: process_changed_job_inputs(workflow_id, dry_run, caller, enforced)
SELECT torc.process_changed_job_inputs(:workflow_id, :dry_run, (:caller, :enforced)::torc.caller)::text;

-- name: reset_job_status(workflow_id, failed_only, caller, enforced)
SELECT torc.reset_job_status(:workflow_id, :failed_only, (:caller, :enforced)::torc.caller)::text;

-- name: reset_workflow_status(workflow_id, force, caller, enforced)
SELECT torc.reset_workflow_status(:workflow_id, :force, (:caller, :enforced)::torc.caller)::text;

-- name: claim_next_jobs(workflow_id, limit, caller, enforced)
SELECT torc.claim_next_jobs(:workflow_id, :limit, (:caller, :enforced)::torc.caller)::text;

-- name: claim_jobs_based_on_resources(workflow_id, limit, strict, resources, caller, enforced)
SELECT torc.claim_jobs_based_on_resources(
    :workflow_id, :limit, :strict, :resources::jsonb, (:caller, :enforced)::torc.caller
)::text;

-- name: is_workflow_complete(workflow_id, caller, enforced)
SELECT torc.is_workflow_complete(:workflow_id, (:caller, :enforced)::torc.caller)::text;

-- name: is_workflow_uninitialized(workflow_id, caller, enforced)
SELECT json_build_object('is_uninitialized', NOT EXISTS (
    SELECT 1
    FROM torc.job
    WHERE workflow_id = allowed.workflow_id AND status NOT IN ('uninitialized', 'disabled')
))::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed;

-- name: ready_job_requirements(workflow_id, scheduler_config_id, caller, enforced)
SELECT torc.ready_job_requirements(:workflow_id, :scheduler_config_id, (:caller, :enforced)::torc.caller)::text;

-- name: list_job_ids(workflow_id, caller, enforced)
SELECT json_build_object('job_ids', job.ids, 'count', cardinality(job.ids))::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT id FROM torc.job WHERE workflow_id = allowed.workflow_id ORDER BY id) AS ids
) AS job;

-- name: list_required_existing_files(workflow_id, caller, enforced)
SELECT json_build_object('files', ARRAY(
    SELECT id
    FROM torc.file AS file
    WHERE workflow_id = allowed.workflow_id
        AND (
            EXISTS (SELECT 1 FROM torc.job_input_file WHERE file_id = file.id OFFSET 0)
            AND NOT EXISTS (SELECT 1 FROM torc.job_output_file WHERE file_id = file.id OFFSET 0)
            OR EXISTS (
                SELECT 1
                FROM torc.job_output_file AS output
                WHERE output.file_id = file.id
                    AND 'completed' = (SELECT status FROM torc.job WHERE id = output.job_id)
                OFFSET 0
            )
        )
    ORDER BY id
))::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed;

-- name: list_missing_user_data(workflow_id, caller, enforced)
SELECT json_build_object('user_data', ARRAY(
    SELECT id
    FROM torc.user_data AS user_data
    WHERE workflow_id = allowed.workflow_id AND data IS NULL
        AND (
            EXISTS (SELECT 1 FROM torc.job_input_user_data WHERE user_data_id = user_data.id OFFSET 0)
            AND NOT EXISTS (SELECT 1 FROM torc.job_output_user_data WHERE user_data_id = user_data.id OFFSET 0)
            OR EXISTS (
                SELECT 1
                FROM torc.job_output_user_data AS output
                WHERE output.user_data_id = user_data.id
                    AND 'completed' = (SELECT status FROM torc.job WHERE id = output.job_id)
                OFFSET 0
            )
        )
    ORDER BY id
))::text
FROM (SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id) AS allowed;

-- name: list_job_dependencies(workflow_id, offset, limit, caller, enforced)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT
        job.id AS job_id,
        job.name AS job_name,
        dependency.id AS depends_on_job_id,
        dependency.name AS depends_on_job_name,
        job.workflow_id
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.dependencies_of(job.id) AS edge
    CROSS JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = edge.job_id OFFSET 0) AS dependency
    WHERE job.workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT row_to_json(matching)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: list_job_file_relationships(workflow_id, offset, limit, caller, enforced)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT
        file.id AS file_id,
        file.name AS file_name,
        file.path AS file_path,
        producer.id AS producer_job_id,
        producer.name AS producer_job_name,
        consumer.id AS consumer_job_id,
        consumer.name AS consumer_job_name,
        file.workflow_id
    FROM torc.file AS file
    LEFT JOIN LATERAL (
        SELECT job_id FROM torc.job_output_file WHERE file_id = file.id OFFSET 0
    ) AS output ON true
    LEFT JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = output.job_id OFFSET 0) AS producer ON true
    LEFT JOIN LATERAL (
        SELECT job_id FROM torc.job_input_file WHERE file_id = file.id OFFSET 0
    ) AS input ON true
    LEFT JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = input.job_id OFFSET 0) AS consumer ON true
    WHERE file.workflow_id = :workflow_id AND (producer.id IS NOT NULL OR consumer.id IS NOT NULL)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT json_strip_nulls(row_to_json(matching))::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset
);

-- name: list_job_user_data_relationships(workflow_id, offset, limit, caller, enforced)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT
        user_data.id AS user_data_id,
        user_data.name AS user_data_name,
        producer.id AS producer_job_id,
        producer.name AS producer_job_name,
        consumer.id AS consumer_job_id,
        consumer.name AS consumer_job_name,
        user_data.workflow_id
    FROM torc.user_data AS user_data
    LEFT JOIN LATERAL (
        SELECT job_id FROM torc.job_output_user_data WHERE user_data_id = user_data.id OFFSET 0
    ) AS output ON true
    LEFT JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = output.job_id OFFSET 0) AS producer ON true
    LEFT JOIN LATERAL (
        SELECT job_id FROM torc.job_input_user_data WHERE user_data_id = user_data.id OFFSET 0
    ) AS input ON true
    LEFT JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = input.job_id OFFSET 0) AS consumer ON true
    WHERE user_data.workflow_id = :workflow_id AND (producer.id IS NOT NULL OR consumer.id IS NOT NULL)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT json_strip_nulls(row_to_json(matching))::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset
);
