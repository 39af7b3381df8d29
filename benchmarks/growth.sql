-- Finished workflows of other users, as they are after their last job: {jobs} jobs, {per_workflow} each, with their
-- results, one event of a client for ten of them, and one compute node for each workflow. Several statements.
-- Triggers and keys are off, commits do not wait for the disk.
SET session_replication_role = replica;
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';

CREATE TEMPORARY TABLE finished AS
WITH new AS (
    INSERT INTO torc.workflow (name, "user")
    SELECT 'finished ' || i, 'user ' || i % 50 FROM generate_series(1, {jobs} / {per_workflow}) AS i
    RETURNING id
),

stored_status AS (
    INSERT INTO torc.workflow_status (workflow_id, run_id, initialized_run_id, initialized_until)
    SELECT id, 1, 1, {jobs} FROM new
),

requirements AS (
    INSERT INTO torc.resource_requirements (workflow_id, name, memory_bytes, runtime_s)
    SELECT id, 'default', 1048576, 60 FROM new
    RETURNING workflow_id, id
),

node AS (
    INSERT INTO torc.compute_node (
        workflow_id, hostname, pid, start_time, is_active, num_cpus, memory_gb, num_gpus, num_nodes, compute_node_type
    )
    SELECT id, 'host', 1, '2026-01-01T00:00:00Z', false, 8, 32, 0, 1, 'local' FROM new
    RETURNING workflow_id, id
)

SELECT requirements.workflow_id, requirements.id AS requirements_id, node.id AS node_id
FROM requirements
INNER JOIN node ON node.workflow_id = requirements.workflow_id
ORDER BY requirements.workflow_id;

INSERT INTO torc.job (
    workflow_id, name, command, status, resource_requirements_id, has_dependencies, has_links, start_time, ready_at,
    claimed_at
)
SELECT
    finished.workflow_id, 'job ' || i, 'train --data ' || repeat('x', (i * 7919 % 101)::integer),
    CASE WHEN i % 100 = 0 THEN 'failed' ELSE 'completed' END::torc.job_status, finished.requirements_id, false, false,
    now(), now(), now()
FROM finished
CROSS JOIN generate_series(1, {per_workflow}) AS i;

INSERT INTO torc.result (
    job_id, workflow_id, run_id, return_code, exec_time_minutes, completion_time, status, compute_node_id,
    peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent
)
SELECT
    job.id, job.workflow_id, 1, CASE WHEN job.status = 'failed' THEN 1 ELSE 0 END, 1.5,
    '2026-01-31T08:00:00.000000+00:00', job.status, finished.node_id, 100000000, 90000000, 95.5, 80.25
FROM torc.job AS job
INNER JOIN finished ON finished.workflow_id = job.workflow_id;

INSERT INTO torc.event (workflow_id, data)
SELECT workflow_id, jsonb_build_object('event_type', 'job_completed', 'job_id', id)
FROM torc.job
WHERE id % 10 = 0 AND workflow_id IN (SELECT workflow_id FROM finished);

RESET session_replication_role;
