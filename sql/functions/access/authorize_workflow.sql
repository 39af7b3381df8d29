-- Lets the caller pass if the workflow exists and the caller may use it; returns the workflow's id, so that the
-- WHERE clause of the statement that does the work can hold the call.
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
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed when access control is enabled');
    IF NOT torc.is_system_admin(p_caller.name) AND NOT torc.is_shared_with(p_workflow_id, p_caller.name) THEN
        -- No names: clients retry when an error text holds a word such as "network".
        PERFORM torc.fail('TC403', format('User does not have access to workflow %s', p_workflow_id));
    END IF;
    RETURN p_workflow_id;
END
$$;

-- Whether the caller may use a workflow: as authorize_workflow(), which raises instead.
CREATE OR REPLACE FUNCTION torc.may_use_workflow(p_workflow_id bigint, p_caller torc.caller)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT p_caller.enforced IS NOT TRUE
        OR torc.has_access(p_workflow_id, p_caller.name)
        OR torc.is_system_admin(p_caller.name)
$$;

-- Whether a workflow is a user's own, or shared with one of the user's groups. Always false for anonymous.
CREATE OR REPLACE FUNCTION torc.has_access(p_workflow_id bigint, p_user text)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT p_user <> 'anonymous'
        AND (
            EXISTS (SELECT 1 FROM torc.workflow WHERE id = p_workflow_id AND "user" = p_user)
            OR torc.is_shared_with(p_workflow_id, p_user)
        )
$$;

-- Whether one of the user's groups, in whatever role, is linked to the workflow.
CREATE OR REPLACE FUNCTION torc.is_shared_with(p_workflow_id bigint, p_user text)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (
        SELECT 1
        FROM torc.workflow_access_group AS shared
        INNER JOIN torc.user_group_membership AS member ON member.group_id = shared.group_id
        WHERE shared.workflow_id = p_workflow_id AND member.user_name = p_user
    )
$$;

-- Lets the caller pass if the workflow's user stays, or if the caller may change it: all who may use a workflow may
-- change its other fields, but only its owner and system administrators may give it away. Raises TC403.
CREATE OR REPLACE FUNCTION torc.authorize_user_change(p_current text, p_requested text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_caller.enforced AND p_requested <> p_current AND p_caller.name <> p_current
        AND NOT torc.is_system_admin(p_caller.name)
    THEN
        PERFORM torc.fail(
            'TC403', 'Only the owner of a workflow and system administrators may change its user', '{"field": "user"}'
        );
    END IF;
END
$$;
