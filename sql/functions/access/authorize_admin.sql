-- These functions decide who may administer. All checks pass while access control is not enforced. The name anonymous
-- never has any rights, even if an account or a member of a group has that name. No message holds a name: clients retry
-- when an error text holds a word such as "network".

-- Whether a user is in the system's group admin, in whatever role.
CREATE OR REPLACE FUNCTION torc.is_system_admin(p_user text)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT p_user <> 'anonymous'
        AND EXISTS (
            SELECT 1
            FROM torc.user_group_membership AS member
            INNER JOIN torc.access_group AS access_group ON access_group.id = member.group_id
            WHERE member.user_name = p_user AND access_group.name = 'admin' AND access_group.is_system
        )
$$;

-- Under access control: raises TC403 with this message for a caller without a name.
CREATE OR REPLACE FUNCTION torc.refuse_anonymous(p_caller torc.caller, p_message text)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_caller.enforced AND p_caller.name = 'anonymous' THEN
        PERFORM torc.fail('TC403', p_message);
    END IF;
END
$$;

-- Passes system administrators; returns true, so that a statement can call it in an expression. VOLATILE as
-- authorize_workflow(). Raises TC403.
CREATE OR REPLACE FUNCTION torc.authorize_admin(p_caller torc.caller)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed for admin operations');
    IF p_caller.enforced AND NOT torc.is_system_admin(p_caller.name) THEN
        PERFORM torc.fail('TC403', 'User is not a system administrator');
    END IF;
    RETURN true;
END
$$;

-- Passes users who ask about themselves, and system administrators. Raises TC403 with this message.
CREATE OR REPLACE FUNCTION torc.authorize_self(p_user text, p_caller torc.caller, p_message text)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_caller.enforced AND p_caller.name <> p_user AND NOT torc.is_system_admin(p_caller.name) THEN
        PERFORM torc.fail('TC403', p_message);
    END IF;
    RETURN true;
END
$$;

-- Passes system administrators and the group's own administrators: its members with the role admin. The members of a
-- system group are the server's configuration, and no caller changes them. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.authorize_group_admin(p_group_id bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_caller.enforced IS NOT TRUE THEN
        RETURN;
    END IF;
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed for group management');
    IF (SELECT is_system FROM torc.expect_group(p_group_id)) THEN
        PERFORM torc.fail('TC403', 'Admin group membership is managed via server configuration');
    END IF;
    IF NOT torc.is_system_admin(p_caller.name) AND NOT EXISTS (
        SELECT 1
        FROM torc.user_group_membership
        WHERE user_name = p_caller.name AND group_id = p_group_id AND role = 'admin'
    ) THEN
        PERFORM torc.fail('TC403', format('User is not an admin of group %s', p_group_id));
    END IF;
END
$$;
