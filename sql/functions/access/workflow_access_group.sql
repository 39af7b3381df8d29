-- A link between a workflow and a group as it goes on the wire.
CREATE OR REPLACE FUNCTION torc.workflow_access_group_json(l torc.workflow_access_group)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object(
        'workflow_id', l.workflow_id,
        'group_id', l.group_id,
        'created_at', to_char(l.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
    )
$$;

-- Shares a workflow with a group. Its owner may share it with any group; system administrators may share any workflow
-- with any group that is not the system's. A group's administrator may not: he could take any workflow that way.
-- Locks: the group and the workflow against deletion. Raises TC404, TC403, TC409 (shared already).
CREATE OR REPLACE FUNCTION torc.add_workflow_to_group(
    p_workflow_id bigint,
    p_group_id bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.workflow_access_group;
BEGIN
    IF NOT torc.may_link_as_owner(p_workflow_id, p_caller) THEN
        IF NOT torc.is_system_admin(p_caller.name) THEN
            PERFORM torc.fail(
                'TC403', format('Only the owner of workflow %s and system administrators may share it', p_workflow_id)
            );
        END IF;
        PERFORM torc.authorize_group_admin(p_group_id, p_caller);
    END IF;
    PERFORM 1 FROM torc.access_group WHERE id = p_group_id FOR KEY SHARE;
    PERFORM torc.expect_group(p_group_id);
    PERFORM 1 FROM torc.workflow WHERE id = p_workflow_id FOR KEY SHARE;
    PERFORM torc.expect_workflow(p_workflow_id);

    INSERT INTO torc.workflow_access_group (workflow_id, group_id)
    VALUES (p_workflow_id, p_group_id)
    ON CONFLICT DO NOTHING
    RETURNING * INTO v_new;
    IF NOT FOUND THEN
        PERFORM torc.fail(
            'TC409', format('Workflow %s is already associated with group %s', p_workflow_id, p_group_id)
        );
    END IF;
    PERFORM torc.audit(
        p_caller, 'add_workflow_to_group',
        format('SELECT torc.add_workflow_to_group(%s, %s)', p_workflow_id, p_group_id),
        p_workflow_id, p_group_id
    );
    RETURN torc.workflow_access_group_json(v_new);
END
$$;

-- Takes a workflow from a group and returns the link. The group's administrators may do it too: it takes access away
-- from nobody but their own group. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.remove_workflow_from_group(
    p_workflow_id bigint,
    p_group_id bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_old torc.workflow_access_group;
BEGIN
    IF NOT torc.may_link_as_owner(p_workflow_id, p_caller) THEN
        PERFORM torc.authorize_group_admin(p_group_id, p_caller);
    END IF;
    DELETE FROM torc.workflow_access_group
    WHERE workflow_id = p_workflow_id AND group_id = p_group_id
    RETURNING * INTO v_old;
    IF NOT FOUND THEN
        PERFORM torc.fail(
            'TC404', format('Association not found for workflow %s in group %s', p_workflow_id, p_group_id)
        );
    END IF;
    PERFORM torc.audit(
        p_caller, 'remove_workflow_from_group',
        format('SELECT torc.remove_workflow_from_group(%s, %s)', p_workflow_id, p_group_id),
        p_workflow_id, p_group_id
    );
    RETURN torc.workflow_access_group_json(v_old);
END
$$;

-- Whether the caller may link the workflow to any group, or take it from any: its owner, and everybody while access
-- control is not enforced. Raises TC404, TC403 (anonymous).
CREATE OR REPLACE FUNCTION torc.may_link_as_owner(p_workflow_id bigint, p_caller torc.caller)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_caller.enforced IS NOT TRUE THEN
        RETURN true;
    END IF;
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed for workflow-group operations');
    RETURN p_caller.name = torc.expect_workflow(p_workflow_id);
END
$$;

-- Returns the workflow's user. Raises TC404.
CREATE OR REPLACE FUNCTION torc.expect_workflow(p_workflow_id bigint)
RETURNS text
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_user text;
BEGIN
    SELECT "user" INTO v_user FROM torc.workflow WHERE id = p_workflow_id;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Workflow not found with ID: %s', p_workflow_id));
    END IF;
    RETURN v_user;
END
$$;
