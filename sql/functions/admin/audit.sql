-- The record of what was done by hand (design: what a person changes by hand is on record). Each function that does
-- such a thing calls torc.audit() in its transaction.

-- Stores who does what. Without a caller (an operator in psql, or the server's configuration) it names the database
-- role. p_sql_text: what an operator would type.
CREATE OR REPLACE FUNCTION torc.audit(
    p_caller torc.caller,
    p_action text,
    p_sql_text text,
    p_workflow_id bigint DEFAULT NULL,
    p_group_id bigint DEFAULT NULL,
    p_data jsonb DEFAULT '{}',
    p_rows_affected bigint DEFAULT NULL
)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO torc.admin_audit_log (
        "timestamp", user_name, action, sql_text, workflow_id, group_id, data, rows_affected
    )
    VALUES (
        torc.now_ms(), coalesce(p_caller.name, current_user), p_action, p_sql_text,
        p_workflow_id, p_group_id, p_data, p_rows_affected
    )
$$;

-- Stores that rows of a workflow were deleted, and returns how many there were.
CREATE OR REPLACE FUNCTION torc.audit_deletion(p_count bigint, p_table text, p_workflow_id bigint, p_caller torc.caller)
RETURNS bigint
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO torc.admin_audit_log ("timestamp", user_name, action, sql_text, workflow_id, rows_affected)
    VALUES (
        torc.now_ms(), coalesce(p_caller.name, current_user), 'delete_all_' || p_table,
        format('DELETE FROM torc.%I WHERE workflow_id = %s', p_table, p_workflow_id), p_workflow_id, p_count
    );
    RETURN p_count;
END
$$;

-- Stores that a workflow has another user than before, if it has.
CREATE OR REPLACE FUNCTION torc.audit_owner(p_workflow torc.workflow, p_old_user text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_workflow."user" IS DISTINCT FROM p_old_user THEN
        PERFORM torc.audit(
            p_caller, 'change_workflow_user',
            format('UPDATE torc.workflow SET "user" = %L WHERE id = %s', p_workflow."user", p_workflow.id),
            p_workflow.id, NULL, jsonb_build_object('user', p_workflow."user", 'old_user', p_old_user)
        );
    END IF;
END
$$;

-- An entry as it goes on the wire.
CREATE OR REPLACE FUNCTION torc.admin_audit_log_json(e torc.admin_audit_log)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', e.id,
        'user_name', e.user_name,
        'timestamp', e."timestamp",
        'sql_text', e.sql_text,
        'is_write', e.is_write,
        'allow_full_table', e.allow_full_table,
        'rows_affected', e.rows_affected,
        'committed', e.committed,
        'success', e.success,
        'error', e.error,
        'action', e.action,
        'workflow_id', e.workflow_id,
        'group_id', e.group_id,
        'data', e.data
    ))
$$;

-- Deletes up to p_limit of the entries that are older than a time (ms since 1970), the oldest first; returns how many.
-- To be called again until it returns 0.
CREATE OR REPLACE FUNCTION torc.prune_audit_log(p_before bigint, p_limit bigint DEFAULT 10000)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_count bigint;
BEGIN
    DELETE FROM torc.admin_audit_log
    WHERE id = ANY (ARRAY(
        SELECT id FROM torc.admin_audit_log WHERE "timestamp" < p_before ORDER BY "timestamp" LIMIT p_limit
    ));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;
