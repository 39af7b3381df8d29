-- name: workflows(before, archived_only)
SELECT * FROM torc.prunable_workflows(:before, :archived_only);

-- name: workflow(workflow_id, before, archived_only)
SELECT torc.prune_workflow(:workflow_id, :before, :archived_only);

-- name: events(before, archived_only)
SELECT * FROM torc.prunable_rows(false, :before, :archived_only);

-- name: event_batch(workflow_id, before, limit)
SELECT torc.prune_events(:workflow_id, :before, :limit);

-- name: results(before, archived_only)
SELECT * FROM torc.prunable_rows(true, :before, :archived_only);

-- name: result_batch(workflow_id, before, after_id, limit)
SELECT * FROM torc.prune_results(:workflow_id, :before, :after_id, :limit);
