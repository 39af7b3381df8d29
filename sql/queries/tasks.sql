-- name: start_initialization(workflow_id, parameters, caller, enforced, dialect)
SELECT torc.start_initialization(:workflow_id, :parameters::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_active()
-- The tasks that are to be done; served by task_active_key.
SELECT id FROM torc.task WHERE torc.is_unfinished(status) ORDER BY id;

-- name: begin_task(task_id)
SELECT torc.begin_task(:task_id);

-- name: run_task(task_id)
SELECT torc.run_task(:task_id)::text;

-- name: fail_task(task_id, error)
SELECT torc.fail_task(:task_id, :error);

-- name: get_task(task_id, caller, enforced, dialect)
SELECT torc.get_task(:task_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_active_task(workflow_id, caller, enforced, dialect)
SELECT torc.active_task(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;
