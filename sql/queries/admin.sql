-- name: audit_reload_auth(user_count, caller, enforced, dialect)
SELECT torc.audit(
    (:caller, :enforced, :dialect)::torc.caller, 'reload_auth', 'POST /admin/reload-auth', NULL, NULL,
    jsonb_build_object('user_count', :user_count::bigint)
);

-- name: list_audit_log(workflow_id, user_name, offset, limit, caller, enforced, dialect)
-- Entries of the audit log, one page, newest first; served by admin_audit_log_pkey.
WITH allowed AS MATERIALIZED (
    SELECT torc.authorize_admin((:caller, :enforced, :dialect)::torc.caller)
),

matching AS NOT MATERIALIZED (
    SELECT entry.id, entry AS item
    FROM torc.admin_audit_log AS entry
    WHERE (:workflow_id::bigint IS NULL OR workflow_id = :workflow_id)
        AND (:user_name::text IS NULL OR user_name = :user_name)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.admin_audit_log_json(item)::text FROM matching ORDER BY id DESC LIMIT :limit OFFSET :offset);

-- name: enable_admin_sql()
SELECT torc.enable_admin_sql();

-- name: begin_admin_sql(is_write, timeout)
-- For the rest of the transaction. Only a superuser may bound the temporary files.
SELECT set_config('transaction_read_only', CASE WHEN :is_write THEN 'off' ELSE 'on' END, true),
    set_config('statement_timeout', :timeout, true), set_config('lock_timeout', '5s', true),
    set_config('torc.try_locks', 'off', true), set_config('search_path', 'torc, pg_temp', true),
    set_config('enable_seqscan', 'on', true), set_config('bytea_output', 'hex', true),
    CASE WHEN current_setting('is_superuser')::boolean THEN set_config('temp_file_limit', '1GB', true) END;

-- name: read_for_admin(text, names, blobs, renamed, limit, most_bytes)
SELECT CASE WHEN :renamed THEN torc.admin_sql_item(item, :names::text[], :blobs::int[]) ELSE item::text END, NULL
FROM torc.read_for_admin(:text, :limit, :most_bytes) AS item;

-- name: write_for_admin(text, names, blobs, renamed, limit, most_bytes)
-- The last row holds no item but the number of rows.
SELECT CASE WHEN :renamed THEN torc.admin_sql_item(item, :names::text[], :blobs::int[]) ELSE item::text END, row_count
FROM torc.write_for_admin(:text, cardinality(:names::text[]) > 0, :limit, :most_bytes);

-- name: end_admin_sql()
-- The statement may have set another search_path: operators of the rest of the transaction are PostgreSQL's own.
SELECT pg_catalog.set_config('search_path', 'pg_catalog', true);

-- name: audit_admin_sql(text, is_write, allow_full_table, dry_run, rows_affected, error, caller, enforced, dialect)
SELECT torc.audit_admin_sql(
    (:caller, :enforced, :dialect)::torc.caller, :text, :is_write, :allow_full_table, :dry_run,
    :rows_affected::bigint, :error::text
);

-- name: exchange_api_traffic(process, counts, numbers, events, streams, wants_bodies, seen)
SELECT torc.exchange_api_traffic(
    :process, :counts::jsonb, :numbers::bigint[], :events::text[], :streams::boolean, :wants_bodies, :seen::jsonb
)::text;

-- name: api_stats(interval, count, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_admin((:caller, :enforced, :dialect)::torc.caller)
)

SELECT torc.api_stats(:interval, :count)::text FROM allowed;

-- name: may_administer(names, enforced)
-- For each caller, in order, whether he may administer.
SELECT array_agg(NOT enforced OR torc.is_system_admin(name) ORDER BY position)
FROM unnest(:names::text[], :enforced::boolean[]) WITH ORDINALITY AS asked (name, enforced, position);
