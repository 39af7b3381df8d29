-- Lets the caller pass who may reload the password file: everybody while access control is not enforced, else the system
-- administrators. Raises TC403. Locks nothing.
CREATE OR REPLACE FUNCTION torc.authorize_reload(p_caller torc.caller)
RETURNS boolean
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    IF p_caller.enforced IS NOT TRUE THEN
        RETURN true;
    END IF;
    IF p_caller.name = 'anonymous' THEN
        PERFORM torc.fail('TC403', 'Anonymous access not allowed for admin operations');
    END IF;
    IF NOT torc.is_system_admin(p_caller.name) THEN
        -- No name: clients retry when an error text holds a word such as "network".
        PERFORM torc.fail('TC403', 'User is not a system administrator');
    END IF;
    RETURN true;
END
$$;
