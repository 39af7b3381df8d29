-- name: server_metrics()
SELECT torc.server_metrics()::text;
