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
