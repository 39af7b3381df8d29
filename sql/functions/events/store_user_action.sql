-- Stores the event that says who asked for a change. Without a caller (an operator in psql) it names the database role.
CREATE OR REPLACE FUNCTION torc.store_user_action(
    p_workflow_id bigint,
    p_caller torc.caller,
    p_action text,
    p_data jsonb
)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO torc.event (workflow_id, "timestamp", data)
    VALUES (
        p_workflow_id,
        torc.now_ms(),
        jsonb_build_object(
            'category', 'user_action', 'action', p_action, 'user', coalesce(p_caller.name, current_user)
        ) || p_data
    )
$$;
