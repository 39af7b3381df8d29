-- name: create_result(body, caller, enforced, dialect)
SELECT torc.create_result(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_result(id, caller, enforced, dialect)
SELECT torc.result_json(result)::text
FROM torc.result AS result
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_results(workflow_id, job_id, run_id, return_code, status, compute_node_id, all_runs, offset, limit, caller, enforced, dialect)
-- Results of a workflow, one page; served by result_workflow_id_idx. Without all_runs only the current one of each job.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT result.*, result AS item
    FROM torc.result AS result
    WHERE workflow_id = :workflow_id
        AND (:all_runs::boolean OR is_current)
        AND (:job_id::bigint IS NULL OR job_id = :job_id)
        AND (:run_id::bigint IS NULL OR run_id = :run_id)
        AND (:return_code::bigint IS NULL OR return_code = :return_code)
        AND (:status::torc.job_status IS NULL OR status = :status::torc.job_status)
        AND (:compute_node_id::bigint IS NULL OR compute_node_id = :compute_node_id)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.result_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_result(id, body, caller, enforced, dialect)
-- What is not named here stays as it was stored.
UPDATE torc.result AS result
SET
    run_id = new.run_id,
    return_code = new.return_code,
    exec_time_minutes = new.exec_time_minutes,
    completion_time = new.completion_time,
    status = new.status
FROM jsonb_populate_record(NULL::torc.result, :body::jsonb) AS new
WHERE result.id = :id
    AND torc.authorize_workflow(result.workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.expect_unchanged('workflow_id', result.workflow_id, new.workflow_id)
    AND torc.expect_unchanged('job_id', result.job_id, new.job_id)
RETURNING torc.result_json(result)::text;

-- name: delete_result(id, caller, enforced, dialect)
DELETE FROM torc.result AS result
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.result_json(result)::text;

-- name: delete_results(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.result USING allowed WHERE result.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'result', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
