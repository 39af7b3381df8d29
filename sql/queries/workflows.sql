-- name: create_workflow(body, caller, enforced, dialect)
SELECT torc.create_workflow(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_workflow(workflow_id, caller, enforced, dialect)
SELECT torc.get_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_workflows(name, user, description, is_archived, access_group, older_than, is_prunable, offset, limit, caller, enforced, dialect)
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
            :access_group::text IS NULL
            OR EXISTS (
                SELECT 1
                FROM torc.workflow_access_group AS shared
                INNER JOIN torc.access_group AS found ON found.id = shared.group_id
                WHERE shared.workflow_id = workflow.id AND found.name = :access_group
            )
        )
        AND (
            :description::text IS NULL
            OR description ILIKE '%%' || regexp_replace(:description, '([%%_\\])', '\\\1', 'g') || '%%'
        )
        AND (
            :older_than::interval IS NULL
            OR CASE  -- the cheap half first
                WHEN workflow."timestamp" >= torc.now() - :older_than::interval THEN false
                ELSE torc.is_older_than(workflow.id, torc.now() - :older_than::interval)
            END
        )
        AND (
            :is_prunable::boolean IS NULL
            OR torc.is_prunable(
                workflow.id, torc.now() - coalesce(:older_than::interval, '0'), false
            ) = :is_prunable
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
(
    SELECT torc.workflow_json(item, (:caller, :enforced, :dialect)::torc.caller)::text
    FROM matching
    ORDER BY {order_by}
    LIMIT :limit OFFSET :offset
);

-- name: update_workflow(workflow_id, body, caller, enforced, dialect)
SELECT torc.update_workflow(:workflow_id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_workflow(workflow_id, caller, enforced, dialect)
SELECT torc.delete_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_workflow_status(workflow_id, caller, enforced, dialect)
SELECT torc.workflow_summary(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: update_workflow_status(workflow_id, body, caller, enforced, dialect)
SELECT torc.update_workflow_status(
    :workflow_id, run_id, is_canceled, coalesce(is_archived, false),
    coalesce(has_detected_need_to_run_completion_script, false), (:caller, :enforced, :dialect)::torc.caller
)
FROM jsonb_populate_record(NULL::torc.workflow_status, :body::jsonb);

-- name: archive_workflow(workflow_id, is_archived, caller, enforced, dialect)
SELECT torc.archive_workflow(:workflow_id, :is_archived, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_running_jobs(workflow_id, offset, limit, caller, enforced, dialect)
-- Jobs that run on a node of the workflow, one page; served by job_workflow_id_status_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT
        job.id AS job_id,
        job.name AS job_name,
        node.hostname AS compute_node_name,
        node.compute_node_type AS scheduler_type,
        scheduled.scheduler_id::text AS scheduler_job_id,
        torc.time_json(job.start_time) AS start_time
    FROM torc.job AS job
    CROSS JOIN LATERAL (
        SELECT * FROM torc.compute_node WHERE id = job.active_compute_node_id AND workflow_id = job.workflow_id OFFSET 0
    ) AS node
    LEFT JOIN LATERAL (
        SELECT scheduler_id
        FROM torc.scheduled_compute_node
        WHERE id = torc.scheduled_node_id(node.scheduler) AND workflow_id = job.workflow_id
        OFFSET 0
    ) AS scheduled ON true
    WHERE job.workflow_id = :workflow_id AND job.status = 'running'
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT json_strip_nulls(row_to_json(matching))::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset
);

-- name: get_slurm_job_correlations(workflow_id, offset, limit, caller, enforced, dialect)
-- Which Slurm job has run which job, from the results of the workflow's nodes, one page.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT DISTINCT scheduled.scheduler_id::text COLLATE "C" AS slurm_job_id, job.id AS job_id, job.name AS job_name
    FROM torc.result AS result
    CROSS JOIN LATERAL (
        SELECT scheduler, workflow_id
        FROM torc.compute_node
        WHERE id = result.compute_node_id AND compute_node_type = 'slurm'
            AND workflow_id IS NOT DISTINCT FROM result.workflow_id
        OFFSET 0
    ) AS node
    CROSS JOIN LATERAL (
        SELECT scheduler_id
        FROM torc.scheduled_compute_node
        WHERE id = torc.scheduled_node_id(node.scheduler)
            AND workflow_id = node.workflow_id
            AND scheduler_type = 'slurm'
        OFFSET 0
    ) AS scheduled
    CROSS JOIN LATERAL (SELECT id, name FROM torc.job WHERE id = result.job_id OFFSET 0) AS job
    WHERE result.workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT row_to_json(matching)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: cancel_workflow(workflow_id, caller, enforced, dialect)
SELECT torc.cancel_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: initialize_jobs(workflow_id, only_uninitialized, clear_ephemeral_user_data, keep_running, caller, enforced, dialect)
SELECT torc.initialize_jobs(
    :workflow_id, :only_uninitialized, :clear_ephemeral_user_data, :keep_running,
    (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: process_changed_job_inputs(workflow_id, dry_run, caller, enforced, dialect)
SELECT torc.process_changed_job_inputs(:workflow_id, :dry_run, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: reset_job_status(workflow_id, failed_only, caller, enforced, dialect)
SELECT torc.reset_job_status(:workflow_id, :failed_only, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: reset_workflow_status(workflow_id, force, caller, enforced, dialect)
SELECT torc.reset_workflow_status(:workflow_id, :force, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: claim_next_jobs(workflow_id, limit, labels, start_on, compute_node_id, caller, enforced, dialect)
-- The answer, and on a line below for how long the jobs were ready, in ms; see claim_locked_jobs().
SELECT torc.claim_next_jobs(
    :workflow_id, :limit, (:caller, :enforced, :dialect)::torc.caller, :labels::text[], :start_on, :compute_node_id
)::text || E'\n' || coalesce(current_setting('torc.waited', true), '');

-- name: claim_jobs_based_on_resources(workflow_id, limit, strict, resources, start_on, compute_node_id, caller, enforced, dialect)
-- The same.
SELECT torc.claim_jobs_based_on_resources(
    :workflow_id, :limit, :strict, :resources::jsonb, (:caller, :enforced, :dialect)::torc.caller, :start_on,
    :compute_node_id
)::text || E'\n' || coalesce(current_setting('torc.waited', true), '');

-- name: is_workflow_complete(workflow_id, caller, enforced, dialect)
SELECT torc.is_workflow_complete(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: is_workflow_uninitialized(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

SELECT json_build_object('is_uninitialized', NOT EXISTS (
    SELECT 1
    FROM torc.job
    WHERE workflow_id = allowed.workflow_id AND torc.is_initialized(status)
))::text
FROM allowed;

-- name: ready_job_requirements(workflow_id, scheduler_config_id, caller, enforced, dialect)
SELECT torc.ready_job_requirements(
    :workflow_id, :scheduler_config_id, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: list_job_ids(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

SELECT json_build_object('job_ids', job.ids, 'count', cardinality(job.ids))::text
FROM allowed
CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT id FROM torc.job WHERE workflow_id = allowed.workflow_id ORDER BY id) AS ids
) AS job;

-- name: list_required_existing_files(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

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
FROM allowed;

-- name: list_missing_user_data(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

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
FROM allowed;

-- name: list_job_dependencies(workflow_id, offset, limit, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
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

-- name: list_job_file_relationships(workflow_id, offset, limit, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
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

-- name: list_job_user_data_relationships(workflow_id, offset, limit, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
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
