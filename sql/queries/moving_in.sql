-- name: begin_import(sequences, keep_ids)
SELECT torc.begin_import(:sequences::jsonb, :keep_ids);

-- name: columns(table_name)
-- The columns of a table and their types.
SELECT attname::text, format_type(atttypid, NULL)
FROM pg_attribute
WHERE attrelid = to_regclass('torc.' || :table_name) AND attnum > 0 AND NOT attisdropped;

-- name: new_ids(table_name, count)
SELECT nextval(pg_get_serial_sequence('torc.' || :table_name, 'id')) FROM generate_series(1, :count);

-- name: import_access_group(id, name, description, created_at, is_system, keep_id)
SELECT torc.import_access_group(:id, :name, :description, :created_at, :is_system, :keep_id);

-- name: import_membership(user_name, group_id, role, created_at)!
INSERT INTO torc.user_group_membership (user_name, group_id, role, created_at)
VALUES (:user_name, :group_id, :role, :created_at::timestamptz)
ON CONFLICT (user_name, group_id) DO NOTHING;

-- name: default_requirements(workflow_id)
SELECT torc.import_default_requirements(:workflow_id);

-- name: settle_imported_workflow(workflow_id, blocked_job_ids, hashed_job_ids)
SELECT torc.settle_imported_workflow(:workflow_id, :blocked_job_ids::bigint[], :hashed_job_ids::bigint[]);
