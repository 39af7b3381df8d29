-- Makes the system administrators those of the configuration: the members of the group admin, which is created, or
-- becomes a system group if somebody made an ordinary one of that name. Present members
-- keep their role and date.
-- Locks: the group's row, so that servers that start at once follow each other.
CREATE OR REPLACE FUNCTION torc.synchronize_admins(p_user_names text[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_group_id bigint;
    v_removed bigint;
    v_added bigint;
BEGIN
    INSERT INTO torc.access_group AS access_group (name, description, is_system)
    VALUES ('admin', 'System administrators', true)
    ON CONFLICT (name) DO UPDATE SET is_system = true
    RETURNING id INTO v_group_id;
    DELETE FROM torc.user_group_membership WHERE group_id = v_group_id AND user_name <> ALL (p_user_names);
    GET DIAGNOSTICS v_removed = ROW_COUNT;
    INSERT INTO torc.user_group_membership (user_name, group_id, role)
    SELECT DISTINCT user_name, v_group_id, 'admin' FROM unnest(p_user_names) AS user_name
    ON CONFLICT (user_name, group_id) DO NOTHING;
    GET DIAGNOSTICS v_added = ROW_COUNT;
    IF v_removed + v_added > 0 THEN
        PERFORM torc.audit(
            NULL, 'synchronize_admins', format('SELECT torc.synchronize_admins(%L)', p_user_names), NULL, v_group_id,
            jsonb_build_object('user_names', p_user_names), v_removed + v_added
        );
    END IF;
END
$$;
