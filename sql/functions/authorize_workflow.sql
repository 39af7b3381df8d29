-- Lets the caller pass if the workflow exists and the caller may use it; returns the workflow's id, so that it can
-- stand in the WHERE clause of the statement that does the work.
-- VOLATILE, though it only reads: a stable call may be dropped or put off by the planner where no row needs its result,
-- and a list of an unknown workflow would be empty instead of an error.
-- Passes: everybody while access control is not enforced, the owner, system administrators, and members of a group
-- that the workflow is shared with. Raises TC404, TC403. Locks nothing.
CREATE OR REPLACE FUNCTION torc.authorize_workflow(p_workflow_id bigint, p_caller torc.caller)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_owner text;
BEGIN
    SELECT "user" INTO v_owner FROM torc.workflow WHERE id = p_workflow_id;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Workflow not found with ID: %s', p_workflow_id));
    END IF;
    IF p_caller.enforced IS NOT TRUE OR v_owner = p_caller.name AND p_caller.name <> 'anonymous' THEN
        RETURN p_workflow_id;
    END IF;
    IF p_caller.name = 'anonymous' THEN
        PERFORM torc.fail('TC403', 'Anonymous access not allowed when access control is enabled');
    END IF;
    IF NOT torc.is_system_admin(p_caller.name) AND NOT EXISTS (
        SELECT 1
        FROM torc.workflow_access_group AS shared
        INNER JOIN torc.user_group_membership AS member ON member.group_id = shared.group_id
        WHERE shared.workflow_id = p_workflow_id AND member.user_name = p_caller.name
    ) THEN
        -- No names: clients retry when an error text holds a word such as "network".
        PERFORM torc.fail('TC403', format('User does not have access to workflow %s', p_workflow_id));
    END IF;
    RETURN p_workflow_id;
END
$$;

CREATE OR REPLACE FUNCTION torc.is_system_admin(p_user text)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT 1
        FROM torc.user_group_membership AS member
        INNER JOIN torc.access_group AS access_group ON access_group.id = member.group_id
        WHERE member.user_name = p_user AND access_group.name = 'admin' AND access_group.is_system
    )
$$;

-- For updates that name a workflow: rows stay in the workflow they were made in. Raises TC422.
CREATE OR REPLACE FUNCTION torc.stays_in_workflow(p_current bigint, p_requested bigint)
RETURNS boolean
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_current <> p_requested THEN
        PERFORM torc.fail(
            'TC422',
            format('workflow_id cannot be changed: the row belongs to workflow %s, got %s', p_current, p_requested),
            jsonb_build_object('field', 'workflow_id', 'value', p_requested)
        );
    END IF;
    RETURN true;
END
$$;
