-- name: register(workflow_id)
SELECT torc.open_event_stream(:workflow_id);

-- name: renew(id)!
UPDATE torc.event_stream SET expires_at = clock_timestamp() + interval '30 s' WHERE id = :id;

-- name: unregister(id)!
DELETE FROM torc.event_stream WHERE id = :id;
