-- name: columns(table_name)
-- What is read of a SQLite database of torc's server, of both versions unless the name says which. The columns of a table.
SELECT name FROM pragma_table_info(:table_name);

-- name: workflow_ids(after_id)
SELECT id FROM workflow WHERE id > :after_id ORDER BY id;

-- name: sequences()
SELECT name, seq FROM sqlite_sequence;

-- name: access_groups()
SELECT * FROM access_group ORDER BY id;

-- name: user_group_memberships()
SELECT m.* FROM user_group_membership AS m INNER JOIN access_group AS g ON g.id = m.group_id
WHERE NOT g.is_system
ORDER BY m.id;

-- name: workflow(workflow_id)
SELECT * FROM workflow WHERE id = :workflow_id;

-- name: workflow_status_0_22(workflow_id)
SELECT
    coalesce(status.run_id, 0) AS run_id,
    coalesce(status.is_canceled, 0) AS is_canceled,
    coalesce(status.is_archived, 0) AS is_archived,
    coalesce(status.has_detected_need_to_run_completion_script, 0) AS has_detected_need_to_run_completion_script
FROM workflow LEFT JOIN workflow_status AS status ON status.id = workflow.status_id
WHERE workflow.id = :workflow_id;

-- name: workflow_status_1_0(workflow_id)
SELECT run_id, is_canceled, is_archived FROM workflow WHERE id = :workflow_id;

-- name: resource_requirements(workflow_id)
SELECT * FROM resource_requirements WHERE workflow_id = :workflow_id ORDER BY id;

-- name: failure_handler(workflow_id)
SELECT * FROM failure_handler WHERE workflow_id = :workflow_id ORDER BY id;

-- name: local_scheduler(workflow_id)
SELECT * FROM local_scheduler WHERE workflow_id = :workflow_id ORDER BY id;

-- name: slurm_scheduler(workflow_id)
SELECT * FROM slurm_scheduler WHERE workflow_id = :workflow_id ORDER BY id;

-- name: scheduled_compute_node(workflow_id)
SELECT * FROM scheduled_compute_node WHERE workflow_id = :workflow_id ORDER BY id;

-- name: compute_node(workflow_id)
SELECT * FROM compute_node WHERE workflow_id = :workflow_id ORDER BY id;

-- name: file(workflow_id)
SELECT * FROM file WHERE workflow_id = :workflow_id ORDER BY id;

-- name: user_data(workflow_id)
SELECT * FROM user_data WHERE workflow_id = :workflow_id ORDER BY id;

-- name: job_0_22(workflow_id)
SELECT job.*, job_internal.active_compute_node_id
FROM job LEFT JOIN job_internal ON job_internal.job_id = job.id
WHERE workflow_id = :workflow_id
ORDER BY id;

-- name: job_1_0(workflow_id)
SELECT *, compute_node_id AS active_compute_node_id FROM job WHERE workflow_id = :workflow_id ORDER BY id;

-- name: hashed_job_ids(workflow_id)
SELECT job.id FROM job INNER JOIN job_internal ON job_internal.job_id = job.id WHERE workflow_id = :workflow_id;

-- name: job_depends_on(workflow_id)
SELECT job_id, depends_on_job_id FROM job_depends_on WHERE job_id IN (SELECT id FROM job WHERE workflow_id = :workflow_id);

-- name: job_input_file(workflow_id)
SELECT job_id, file_id FROM job_input_file WHERE job_id IN (SELECT id FROM job WHERE workflow_id = :workflow_id);

-- name: job_output_file(workflow_id)
SELECT job_id, file_id FROM job_output_file WHERE job_id IN (SELECT id FROM job WHERE workflow_id = :workflow_id);

-- name: job_input_user_data(workflow_id)
SELECT job_id, user_data_id
FROM job_input_user_data
WHERE job_id IN (SELECT id FROM job WHERE workflow_id = :workflow_id);

-- name: job_output_user_data(workflow_id)
SELECT job_id, user_data_id
FROM job_output_user_data
WHERE job_id IN (SELECT id FROM job WHERE workflow_id = :workflow_id);

-- name: result(workflow_id)
SELECT
    result.*,
    EXISTS (
        SELECT 1 FROM workflow_result AS newest
        WHERE newest.workflow_id = result.workflow_id AND newest.job_id = result.job_id AND newest.result_id = result.id
    ) AS is_current
FROM result
WHERE workflow_id = :workflow_id
ORDER BY id;

-- name: slurm_stats(workflow_id)
SELECT * FROM slurm_stats WHERE workflow_id = :workflow_id ORDER BY id;

-- name: event(workflow_id)
SELECT * FROM event WHERE workflow_id = :workflow_id ORDER BY id;

-- name: workflow_action(workflow_id)
SELECT * FROM workflow_action WHERE workflow_id = :workflow_id ORDER BY id;

-- name: remote_worker(workflow_id)
SELECT worker, workflow_id FROM remote_worker WHERE workflow_id = :workflow_id;

-- name: ro_crate_entity(workflow_id)
SELECT * FROM ro_crate_entity WHERE workflow_id = :workflow_id ORDER BY id;

-- name: workflow_access_group(workflow_id)
SELECT * FROM workflow_access_group WHERE workflow_id = :workflow_id;
