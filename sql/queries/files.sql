-- name: create_file(workflow_id, name, path, st_mtime, caller, enforced)
INSERT INTO torc.file (workflow_id, name, path, st_mtime)
VALUES (torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller), :name, :path, :st_mtime)
RETURNING id;

-- name: get_file(id, caller, enforced)
SELECT torc.file_json(file)::text
FROM torc.file AS file
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL;

-- name: list_files(workflow_id, produced_by_job_id, name, path, is_output, offset, limit, caller, enforced)
-- Files of a workflow, one page; served by file_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT file.*, file AS item
    FROM torc.file AS file
    WHERE workflow_id = :workflow_id
        AND (:name::text IS NULL OR name = :name)
        AND (:path::text IS NULL OR path = :path)
        AND (
            :produced_by_job_id::bigint IS NULL
            OR EXISTS (
                SELECT 1 FROM torc.job_output_file WHERE job_id = :produced_by_job_id AND file_id = file.id OFFSET 0
            )
        )
        -- false filters nothing, as in the reference
        AND (
            :is_output::boolean IS NOT TRUE
            OR EXISTS (SELECT 1 FROM torc.job_output_file WHERE file_id = file.id OFFSET 0)
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.file_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_file(id, workflow_id, name, path, st_mtime, caller, enforced)
UPDATE torc.file AS file
SET name = :name, path = :path, st_mtime = :st_mtime
WHERE id = :id
    AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL
    AND torc.stays_in_workflow(workflow_id, :workflow_id)
RETURNING torc.file_json(file)::text;

-- name: delete_file(id, caller, enforced)
DELETE FROM torc.file AS file
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL
RETURNING torc.file_json(file)::text;

-- name: delete_files(workflow_id, caller, enforced)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.file USING allowed WHERE file.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'file', workflow_id, (:caller, :enforced)::torc.caller
)
FROM allowed;
