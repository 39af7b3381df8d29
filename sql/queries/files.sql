-- name: create_file(body, caller, enforced, dialect)
INSERT INTO torc.file AS file (workflow_id, name, path, st_mtime)
SELECT workflow_id, name, path, st_mtime
FROM jsonb_populate_record(NULL::torc.file, :body::jsonb)
WHERE torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.file_json(file)::text;

-- name: create_files(workflow_id, piece, caller, enforced, dialect)
-- One array of files, a piece of a bulk; their answers with commas between them.
SELECT string_agg(file::text, ',')
FROM torc.create_files(:workflow_id, :piece::json, (:caller, :enforced, :dialect)::torc.caller) AS file;

-- name: get_file(id, caller, enforced, dialect)
SELECT torc.file_json(file)::text
FROM torc.file AS file
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_files(workflow_id, produced_by_job_id, name, path, is_output, offset, limit, caller, enforced, dialect)
-- Files of a workflow, one page; served by file_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT file.*, file AS item
    FROM torc.file AS file
    WHERE workflow_id = :workflow_id
        AND (:name::text IS NULL OR name = :name)
        AND (:path::text IS NULL OR torc.contains_text(path, :path))
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

-- name: update_file(id, body, caller, enforced, dialect)
UPDATE torc.file AS file
SET name = new.name, path = new.path, st_mtime = new.st_mtime
FROM jsonb_populate_record(NULL::torc.file, :body::jsonb) AS new
WHERE file.id = :id
    AND torc.authorize_workflow(file.workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.expect_unchanged('workflow_id', file.workflow_id, new.workflow_id)
RETURNING torc.file_json(file)::text;

-- name: delete_file(id, caller, enforced, dialect)
DELETE FROM torc.file AS file
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.file_json(file)::text;

-- name: delete_files(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.file USING allowed WHERE file.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'file', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
