-- Puts a workflow into the archive or takes it out, and stores an event, also where that changes nothing. Jobs are left
-- alone: of all calls, only reset_status refuses archived workflows. Answers the workflow.
-- Locks: workflow shared. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.archive_workflow(
    p_workflow_id bigint,
    p_is_archived boolean,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    UPDATE torc.workflow_status
    SET
        is_archived = p_is_archived,
        has_detected_need_to_run_completion_script
        = has_detected_need_to_run_completion_script AND NOT p_is_archived
    WHERE workflow_id = p_workflow_id;
    PERFORM torc.store_user_action(p_workflow_id, p_caller, 'archive_workflow', jsonb_build_object(
        'workflow_id', p_workflow_id, 'is_archived', p_is_archived
    ));
    RETURN (SELECT torc.workflow_json(workflow, p_caller) FROM torc.workflow AS workflow WHERE id = p_workflow_id);
END
$$;
