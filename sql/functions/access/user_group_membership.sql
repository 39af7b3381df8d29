-- A membership as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.user_group_membership_json(m torc.user_group_membership)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object(
        'id', m.id,
        'user_name', m.user_name,
        'group_id', m.group_id,
        'role', m.role,
        'created_at', to_char(m.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
    )
$$;

-- Makes a user, who need not be known anywhere, a member of a group. The role admin makes an administrator of the
-- group; any other text is a member. Locks: the group against deletion. Raises TC404, TC403; a second membership breaks
-- user_group_membership_user_name_group_id_key.
CREATE OR REPLACE FUNCTION torc.add_user_to_group(
    p_group_id bigint,
    p_user_name text,
    p_role text,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.user_group_membership;
BEGIN
    PERFORM torc.authorize_group_admin(p_group_id, p_caller);
    PERFORM 1 FROM torc.access_group WHERE id = p_group_id FOR KEY SHARE;
    PERFORM torc.expect_group(p_group_id);
    INSERT INTO torc.user_group_membership (user_name, group_id, role)
    VALUES (p_user_name, p_group_id, p_role)
    RETURNING * INTO v_new;
    PERFORM torc.audit(
        p_caller, 'add_user_to_group',
        format('SELECT torc.add_user_to_group(%s, %L, %L)', p_group_id, p_user_name, p_role), NULL,
        p_group_id, jsonb_build_object('user_name', p_user_name, 'role', p_role)
    );
    RETURN torc.user_group_membership_json(v_new);
END
$$;

-- Ends a membership and returns it. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.remove_user_from_group(
    p_group_id bigint,
    p_user_name text,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_old torc.user_group_membership;
BEGIN
    PERFORM torc.authorize_group_admin(p_group_id, p_caller);
    DELETE FROM torc.user_group_membership
    WHERE group_id = p_group_id AND user_name = p_user_name
    RETURNING * INTO v_old;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Membership not found for this user in group %s', p_group_id));
    END IF;
    PERFORM torc.audit(
        p_caller, 'remove_user_from_group',
        format('SELECT torc.remove_user_from_group(%s, %L)', p_group_id, p_user_name), NULL,
        p_group_id, jsonb_build_object('user_name', p_user_name, 'role', v_old.role)
    );
    RETURN torc.user_group_membership_json(v_old);
END
$$;
