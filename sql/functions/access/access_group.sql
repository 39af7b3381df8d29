-- A group as it goes on the wire, without whether it is a system group. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.access_group_json(g torc.access_group)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', g.id,
        'name', g.name,
        'description', g.description,
        'created_at', to_char(g.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
    ))
$$;

-- Returns the group. VOLATILE, so that the planner does not drop the call. Raises TC404.
CREATE OR REPLACE FUNCTION torc.expect_group(p_group_id bigint)
RETURNS torc.access_group
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_group torc.access_group;
BEGIN
    SELECT * INTO v_group FROM torc.access_group WHERE id = p_group_id;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Group not found with ID: %s', p_group_id));
    END IF;
    RETURN v_group;
END
$$;

-- Creates a group. Raises TC403; a second group of the name breaks access_group_name_key.
CREATE OR REPLACE FUNCTION torc.create_access_group(p_name text, p_description text, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.access_group;
BEGIN
    PERFORM torc.authorize_admin(p_caller);
    INSERT INTO torc.access_group (name, description) VALUES (p_name, p_description) RETURNING * INTO v_new;
    PERFORM torc.audit(
        p_caller, 'create_access_group',
        format('SELECT torc.create_access_group(%L, %L)', p_name, p_description), NULL, v_new.id
    );
    RETURN torc.access_group_json(v_new);
END
$$;

-- Returns a group, to system administrators. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.get_access_group(p_group_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.authorize_admin(p_caller);
    RETURN torc.access_group_json(torc.expect_group(p_group_id));
END
$$;

-- Deletes a group with its memberships and links; returns it. A system group cannot be deleted.
-- Locks: the group's row. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_access_group(p_group_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_old torc.access_group;
BEGIN
    PERFORM torc.authorize_admin(p_caller);
    PERFORM 1 FROM torc.access_group WHERE id = p_group_id FOR UPDATE;
    v_old := torc.expect_group(p_group_id);
    IF v_old.is_system THEN
        PERFORM torc.fail('TC403', 'Cannot delete system groups');
    END IF;
    DELETE FROM torc.access_group WHERE id = p_group_id;
    PERFORM torc.audit(
        p_caller, 'delete_access_group', format('SELECT torc.delete_access_group(%s)', p_group_id), NULL, p_group_id,
        jsonb_build_object('name', v_old.name)
    );
    RETURN torc.access_group_json(v_old);
END
$$;
