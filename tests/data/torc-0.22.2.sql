-- A small database of torc's server 0.22.2, made by hand: the tables and columns that the server of that version
-- has, and two workflows. Workflow 3 has a job in each status; the pass that moves dependents has not run yet.
CREATE TABLE access_group (id INTEGER PRIMARY KEY AUTOINCREMENT, name, description, created_at, is_system);
CREATE TABLE compute_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, hostname, pid, start_time, duration_seconds, is_active,
    num_cpus, memory_gb, num_gpus, num_nodes, time_limit, scheduler_config_id, compute_node_type, scheduler
);
CREATE TABLE event (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, timestamp, data);
CREATE TABLE failure_handler (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, rules);
CREATE TABLE file (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, path, st_mtime);
CREATE TABLE job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, command, cancel_on_blocking_job_failure,
    supports_termination, resource_requirements_id, invocation_script, status, scheduler_id, scheduler_type,
    schedule_compute_nodes, unblocking_processed, failure_handler_id, attempt_id, priority
);
CREATE TABLE job_depends_on (job_id, depends_on_job_id, workflow_id);
CREATE TABLE job_input_file (job_id, file_id, workflow_id);
CREATE TABLE job_input_user_data (job_id, user_data_id);
CREATE TABLE job_internal (job_id, input_hash, active_compute_node_id);
CREATE TABLE job_output_file (job_id, file_id, workflow_id);
CREATE TABLE job_output_user_data (job_id, user_data_id);
CREATE TABLE local_scheduler (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, memory, num_cpus);
CREATE TABLE remote_worker (worker, workflow_id);
CREATE TABLE resource_requirements (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime,
    memory_bytes, runtime_s
);
CREATE TABLE result (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code,
    exec_time_minutes, completion_time, status, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent
);
CREATE TABLE ro_crate_entity (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, file_id, entity_id, entity_type, metadata
);
CREATE TABLE scheduled_compute_node (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, scheduler_config_id, scheduler_id, scheduler_type, status
);
CREATE TABLE slurm_scheduler (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition,
    qos, tmp, walltime, extra
);
CREATE TABLE slurm_stats (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, job_id, run_id, attempt_id, slurm_job_id, max_rss_bytes,
    max_vm_size_bytes, max_disk_read_bytes, max_disk_write_bytes, ave_cpu_seconds, node_list
);
CREATE TABLE user_data (id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, name, is_ephemeral, data);
CREATE TABLE user_group_membership (id INTEGER PRIMARY KEY AUTOINCREMENT, user_name, group_id, role, created_at);
CREATE TABLE workflow (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name, description, user, timestamp, is_archived,
    compute_node_expiration_buffer_seconds, compute_node_wait_for_new_jobs_seconds,
    compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes,
    compute_node_min_time_for_new_jobs_seconds, status_id, resource_monitor_config, slurm_defaults,
    use_pending_failed, enable_ro_crate, project, metadata, slurm_config, execution_config
);
CREATE TABLE workflow_access_group (workflow_id, group_id, created_at);
CREATE TABLE workflow_action (
    id INTEGER PRIMARY KEY AUTOINCREMENT, workflow_id, trigger_type, action_type, action_config, job_ids,
    trigger_count, required_triggers, executed, executed_at, executed_by, persistent, is_recovery
);
CREATE TABLE workflow_result (workflow_id, job_id, result_id);
CREATE TABLE workflow_status (
    id INTEGER PRIMARY KEY AUTOINCREMENT, run_id, has_detected_need_to_run_completion_script, is_canceled,
    is_archived, workflow_id
);

INSERT INTO workflow_status (id, run_id, has_detected_need_to_run_completion_script, is_canceled, is_archived, workflow_id)
VALUES (3, 2, 1, 0, 0, 3);
INSERT INTO workflow_status (id, run_id, has_detected_need_to_run_completion_script, is_canceled, is_archived, workflow_id)
VALUES (5, 1, 0, 1, 1, 5);
INSERT INTO workflow (id, name, description, user, timestamp, is_archived, compute_node_expiration_buffer_seconds, compute_node_wait_for_new_jobs_seconds, compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes, compute_node_min_time_for_new_jobs_seconds, resource_monitor_config, slurm_defaults, use_pending_failed, enable_ro_crate, project, metadata, slurm_config, execution_config, status_id)
VALUES (3, 'survey', 'a job in each status', 'alice', '2026-03-05T10:20:30.456Z', 0, 60, 90, 1, 15, 240, '{"enabled": true}', '{"qos": "high"}', 1, 0, 'north', '{"k": [1, null]}', '{"limit_resources": true}', '{"mode": "direct"}', 3);
INSERT INTO workflow (id, name, user, timestamp, is_archived, status_id, compute_node_wait_for_new_jobs_seconds, compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes, compute_node_min_time_for_new_jobs_seconds)
VALUES (5, 'old', 'bob', '2025-12-24T00:00:00.000Z', 0, 5, 0, 0, 20, 300);
INSERT INTO access_group (id, name, description, created_at, is_system)
VALUES (1, 'admin', 'System administrators', '2026-01-02 03:04:05', 1);
INSERT INTO access_group (id, name, description, created_at, is_system)
VALUES (4, 'team', NULL, '2026-02-03 04:05:06', 0);
INSERT INTO user_group_membership (id, user_name, group_id, role, created_at)
VALUES (1, 'root', 1, 'admin', '2026-01-02 03:04:05');
INSERT INTO user_group_membership (id, user_name, group_id, role, created_at)
VALUES (6, 'alice', 4, 'admin', '2026-02-03 04:05:06');
INSERT INTO user_group_membership (id, user_name, group_id, role, created_at)
VALUES (7, 'bob', 4, 'member', '2026-02-03 04:05:07');
INSERT INTO workflow_access_group (workflow_id, group_id, created_at)
VALUES (3, 4, '2026-02-04 00:00:00');
INSERT INTO resource_requirements (id, workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s)
VALUES (8, 3, 'default', 1, 0, 1, '1m', 'P0DT1M', 1048576, 60);
INSERT INTO resource_requirements (id, workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s)
VALUES (9, 3, 'large', 16, 2, 2, '64g', 'PT4H', 68719476736, 14400);
INSERT INTO resource_requirements (id, workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s)
VALUES (10, 5, 'default', 1, 0, 1, '1m', 'P0DT1M', 1048576, 60);
INSERT INTO failure_handler (id, workflow_id, name, rules)
VALUES (2, 3, 'again', '[{"exit_codes": [1], "max_retries": 3}]');
INSERT INTO local_scheduler (id, workflow_id, memory, num_cpus)
VALUES (7, 3, '32g', 8);
INSERT INTO slurm_scheduler (id, workflow_id, name, account, gres, mem, nodes, ntasks_per_node, partition, qos, tmp, walltime, extra)
VALUES (12, 3, 'short', 'lab', 'gpu:1', '100g', 4, 2, 'p', 'q', '1t', '04:00:00', '--x');
INSERT INTO slurm_scheduler (id, workflow_id, name, account, nodes, walltime)
VALUES (13, 3, 'long', 'lab', 1, '01:00:00');
INSERT INTO scheduled_compute_node (id, workflow_id, scheduler_config_id, scheduler_id, scheduler_type, status)
VALUES (21, 3, 12, 4711, 'slurm', 'active');
INSERT INTO scheduled_compute_node (id, workflow_id, scheduler_config_id, scheduler_id, scheduler_type, status)
VALUES (22, 3, 7, 1, 'local', 'complete');
INSERT INTO compute_node (id, hostname, duration_seconds, is_active, time_limit, scheduler_config_id, compute_node_type, scheduler, workflow_id, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes)
VALUES (31, 'n1', 12.5, 0, 'PT1H', 12, 'slurm', '{"scheduler_id": 4711, "slurm_job_id": "4711"}', 3, 99, '2026-03-05T10:21:00Z', 8, 31.5, 1, 1);
INSERT INTO compute_node (id, hostname, is_active, compute_node_type, scheduler_config_id, scheduler, workflow_id, pid, start_time, num_cpus, memory_gb, num_gpus, num_nodes)
VALUES (32, 'n2', 1, 'local', 7, 'null', 3, 99, '2026-03-05T10:21:00Z', 8, 31.5, 1, 1);
INSERT INTO file (id, workflow_id, name, path, st_mtime)
VALUES (41, 3, 'raw', '/data/raw.csv', 1772705000.25);
INSERT INTO file (id, workflow_id, name, path, st_mtime)
VALUES (42, 3, 'clean', '/data/clean.csv', NULL);
INSERT INTO user_data (id, workflow_id, name, is_ephemeral, data)
VALUES (51, 3, 'parameters', 0, '{"big": 12345678901234567890, "f": 1.50, "n": null}');
INSERT INTO user_data (id, workflow_id, name, is_ephemeral, data)
VALUES (52, 3, 'nothing', 1, 'null');
INSERT INTO user_data (id, workflow_id, name, is_ephemeral, data)
VALUES (53, 3, 'odd', 0, '{"text": "a\u0000b \ud83d\ude00 \ud83d"}');
INSERT INTO user_data (id, workflow_id, name, is_ephemeral, data)
VALUES (54, 3, 'empty', 0, NULL);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority, invocation_script, scheduler_id)
VALUES (101, 3, 'prepare', 'run prepare', 1, 0, 5, 8, 1, 1, 7, 'bash -l', 12);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority, failure_handler_id)
VALUES (102, 3, 'left', 'run left', 1, 0, 6, 9, 1, 2, 0, 2);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (103, 3, 'right', 'run right', 1, 0, 5, 8, 1, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (104, 3, 'join', 'run join', 1, 0, 7, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (105, 3, 'report', 'run report', 1, 0, 1, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (106, 3, 'tidy', 'run tidy', 0, 0, 1, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (107, 3, 'never', 'run never', 1, 0, 9, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (108, 3, 'undecided', 'run undecided', 1, 0, 10, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (109, 3, 'waits', 'run waits', 1, 0, 1, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (110, 3, 'runs', 'run runs', 1, 1, 4, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (111, 3, 'claimed', 'run claimed', 1, 0, 3, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (112, 3, 'next', 'run next', 1, 0, 2, 8, 0, 1, 3);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (113, 3, 'new', 'run new', 1, 0, 0, 8, 0, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (114, 3, 'ended', 'run ended', 1, 0, 8, 8, 1, 1, 0);
INSERT INTO job (id, workflow_id, name, command, cancel_on_blocking_job_failure, supports_termination, status, resource_requirements_id, unblocking_processed, attempt_id, priority)
VALUES (115, 3, 'publish', 'run publish', 1, 0, 1, 8, 0, 1, 0);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (101, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (102, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (103, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (104, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (105, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (106, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (107, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (108, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (109, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (110, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', 32);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (111, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (112, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (114, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_internal (job_id, input_hash, active_compute_node_id)
VALUES (115, '0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f', NULL);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (102, 101, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (103, 101, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (104, 102, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (104, 103, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (105, 104, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (106, 104, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (109, 108, 3);
INSERT INTO job_depends_on (job_id, depends_on_job_id, workflow_id)
VALUES (115, 105, 3);
INSERT INTO job_output_file (job_id, file_id, workflow_id)
VALUES (101, 42, 3);
INSERT INTO job_input_file (job_id, file_id, workflow_id)
VALUES (101, 41, 3);
INSERT INTO job_input_file (job_id, file_id, workflow_id)
VALUES (102, 42, 3);
INSERT INTO job_input_user_data (job_id, user_data_id)
VALUES (101, 51);
INSERT INTO job_output_user_data (job_id, user_data_id)
VALUES (103, 52);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status)
VALUES (201, 3, 101, 1, 1, 31, 1, 0.5, '2026-03-05T10:25:00Z', 6);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent)
VALUES (202, 3, 101, 2, 1, 31, 0, 0.5, '2026-03-05T10:25:00Z', 5, 1000, 500, 50.5, 20.25);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status)
VALUES (203, 3, 102, 2, 1, 31, 1, 0.5, '2026-03-05T10:25:00Z', 6);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status)
VALUES (204, 3, 102, 2, 2, 31, 2, 0.5, '2026-03-05T10:25:00Z', 6);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status)
VALUES (205, 3, 103, 2, 1, 31, 0, 0.5, '2026-03-05T10:25:00Z', 5);
INSERT INTO result (id, workflow_id, job_id, run_id, attempt_id, compute_node_id, return_code, exec_time_minutes, completion_time, status)
VALUES (206, 3, 114, 2, 1, 31, -15, 0.5, '2026-03-05T10:25:00Z', 8);
INSERT INTO workflow_result (workflow_id, job_id, result_id)
VALUES (3, 101, 202);
INSERT INTO workflow_result (workflow_id, job_id, result_id)
VALUES (3, 102, 204);
INSERT INTO workflow_result (workflow_id, job_id, result_id)
VALUES (3, 103, 205);
INSERT INTO workflow_result (workflow_id, job_id, result_id)
VALUES (3, 114, 206);
INSERT INTO slurm_stats (id, workflow_id, job_id, run_id, attempt_id, slurm_job_id, max_rss_bytes, max_vm_size_bytes, max_disk_read_bytes, max_disk_write_bytes, ave_cpu_seconds, node_list)
VALUES (61, 3, 101, 2, 1, '4711', 1, 2, 3, 4, 5.5, 'n[1-2]');
INSERT INTO event (id, workflow_id, timestamp, data)
VALUES (71, 3, 1772706300123, '{"category": "user_action", "action": "reset", "n": null}');
INSERT INTO event (id, workflow_id, timestamp, data)
VALUES (72, 3, 1772706300124, 'null');
INSERT INTO workflow_action (id, workflow_id, trigger_type, action_type, action_config, job_ids, trigger_count, required_triggers, executed, persistent, is_recovery)
VALUES (81, 3, 'on_jobs_ready', 'schedule_nodes', '{"scheduler_id": 12, "scheduler_type": "slurm", "x": null}', '[105, 106]', 0, 2, 0, 0, 0);
INSERT INTO workflow_action (id, workflow_id, trigger_type, action_type, action_config, job_ids, trigger_count, required_triggers, executed, persistent, is_recovery)
VALUES (82, 3, 'on_jobs_complete', 'run_commands', '{"commands": ["true"]}', '[101, 102, 999]', 2, 3, 0, 0, 0);
INSERT INTO workflow_action (id, workflow_id, trigger_type, action_type, action_config, trigger_count, required_triggers, executed, executed_at, executed_by, persistent, is_recovery)
VALUES (83, 3, 'on_workflow_start', 'run_commands', '{"commands": []}', 1, 1, 1, '2026-03-05T10:21:05.123456+00:00', 31, 0, 0);
INSERT INTO remote_worker (worker, workflow_id)
VALUES ('u@h1', 3);
INSERT INTO remote_worker (worker, workflow_id)
VALUES ('h2', 3);
INSERT INTO ro_crate_entity (id, workflow_id, file_id, entity_id, entity_type, metadata)
VALUES (91, 3, 42, 'clean.csv', 'File', '{"@id": "clean.csv"}');
