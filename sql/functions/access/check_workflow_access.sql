-- Whether a user owns the workflow or is in a group that it is shared with: what holds under access control, whether it
-- is enforced or not, but for system administrators. false for an unknown workflow or user. Raises TC403.
CREATE OR REPLACE FUNCTION torc.check_workflow_access(
    p_workflow_id bigint,
    p_user_name text,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.refuse_anonymous(p_caller, 'Authentication required');
    PERFORM torc.authorize_self(p_user_name, p_caller, 'Only admins can check access for other users');
    RETURN json_build_object(
        'has_access', torc.has_access(p_workflow_id, p_user_name),
        'user_name', p_user_name,
        'workflow_id', p_workflow_id
    );
END
$$;
