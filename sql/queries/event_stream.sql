-- name: name_connection()
-- So that pg_stat_activity tells which connection listens for the event streams of a process.
SELECT set_config('application_name', 'torc-server event streams', false);

-- name: register(workflow_id)
SELECT torc.open_event_stream(:workflow_id);

-- name: renew(ids)!
UPDATE torc.event_stream SET expires_at = torc.now() + interval '30 s' WHERE id = ANY(:ids);

-- name: unregister(id, workflow_id)
SELECT torc.close_event_stream(:id, :workflow_id);

-- name: may_read(workflow_ids, names, enforced)
-- For each stream, in order, whether its workflow is still there and its caller may read it.
SELECT coalesce(array_agg(workflow.id IS NOT NULL AND torc.may_use_workflow(asked.workflow_id, asked.caller)
    ORDER BY asked.position), '{}')
FROM (
    SELECT workflow_id, ROW(name, enforced, NULL)::torc.caller AS caller, position
    FROM unnest(:workflow_ids::bigint[], :names::text[], :enforced::boolean[])
        WITH ORDINALITY AS stream (workflow_id, name, enforced, position)
) AS asked
LEFT JOIN torc.workflow AS workflow ON workflow.id = asked.workflow_id;

-- name: await_jobs(workflow_id)
SELECT torc.await_jobs(:workflow_id);

-- name: end_await(ids)!
DELETE FROM torc.event_stream WHERE id = ANY(:ids);

-- name: finished_workflows(workflow_ids)
SELECT torc.finished_workflows(:workflow_ids::bigint[]);
