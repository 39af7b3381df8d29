-- name: workflows(filter, caller, enforced, dialect)
-- The pages of the dashboard: each statement answers all that its page says as one JSON text.
SELECT torc.dashboard_workflows(:filter::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: workflow(workflow_id, caller, enforced, dialect)
SELECT torc.dashboard_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: resource_use(workflow_id, caller, enforced, dialect)
SELECT torc.dashboard_use(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: jobs(workflow_id, filter, caller, enforced, dialect)
SELECT torc.dashboard_jobs(:workflow_id, :filter::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: jobs_csv(workflow_id, filter, caller, enforced, dialect)
SELECT line
FROM torc.dashboard_jobs_csv(:workflow_id, :filter::jsonb, (:caller, :enforced, :dialect)::torc.caller) AS line;

-- name: job(job_id, caller, enforced, dialect)
SELECT torc.dashboard_job(:job_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: preview(workflow_id, job_id, node_id, action, caller, enforced, dialect)
SELECT torc.dashboard_preview(
    :workflow_id, :job_id, :node_id, :action, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: act(workflow_id, action, caller, enforced, dialect)
SELECT torc.dashboard_act(:workflow_id, :action, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: act_on_job(job_id, action, caller, enforced, dialect)
SELECT torc.dashboard_act_on_job(:job_id, :action, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: pulse(workflow_id, caller, enforced, dialect)
SELECT torc.dashboard_pulse(:workflow_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: graph(workflow_id, open, fold_above, by_level, most, caller, enforced, dialect)
SELECT torc.dashboard_graph(
    :workflow_id, :open::text[], :fold_above::integer, :by_level::boolean, :most::integer,
    (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: progress(workflow_id, steps, caller, enforced, dialect)
SELECT torc.dashboard_progress(:workflow_id, :steps::integer, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: timeline(workflow_id, since, until, offset, steps, caller, enforced, dialect)
SELECT torc.dashboard_timeline(
    :workflow_id, :since::double precision, :until::double precision, :offset, :steps::integer,
    (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: nodes(active, silent_s, limit, offset, caller, enforced, dialect)
SELECT torc.dashboard_nodes(
    :active::boolean, :silent_s::double precision, :limit, :offset, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: act_on_node(node_id, action, caller, enforced, dialect)
SELECT torc.dashboard_act_on_node(:node_id, :action, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: server(caller, enforced, dialect)
SELECT torc.dashboard_server((:caller, :enforced, :dialect)::torc.caller)::text;

-- name: create_workflow(plan, initialize, caller, enforced, dialect)
SELECT torc.create_from_plan(:plan::jsonb, :initialize::boolean, (:caller, :enforced, :dialect)::torc.caller);

-- name: authorize(workflow_id, caller, enforced, dialect)
SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller);
