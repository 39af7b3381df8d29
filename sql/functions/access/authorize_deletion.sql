-- Under access control, deleting rows needs leave to use all workflows whose rows would go with them, or forget them.
-- Which those are is not told. Raises TC403.
CREATE OR REPLACE FUNCTION torc.authorize_side_effects(p_workflow_ids bigint[], p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_caller.enforced AND EXISTS (
        SELECT 1 FROM unnest(p_workflow_ids) AS other (id) WHERE NOT torc.may_use_workflow(other.id, p_caller)
    ) THEN
        PERFORM torc.fail(
            'TC403',
            'Another workflow needs it, to which the user does not have access; a system administrator can delete it'
        );
    END IF;
END
$$;

-- Before a compute node is deleted, or with NULL all of a workflow: results go with it; jobs and actions forget it.
-- Returns p_workflow_id, so that a WHERE clause can hold the call. Locks: the workflow, exclusive, before the row that
-- is deleted, see forget_deleted_references.sql; under access control also the nodes, which holds up other workflows
-- that are about to name them. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.authorize_node_deletion(p_workflow_id bigint, p_node_id bigint, p_caller torc.caller)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    IF p_caller.enforced THEN
        v_ids := ARRAY(
            SELECT id
            FROM torc.compute_node
            WHERE workflow_id = p_workflow_id AND (p_node_id IS NULL OR id = p_node_id)
            ORDER BY id
            FOR UPDATE
        );
        PERFORM torc.authorize_side_effects(
            ARRAY(
                SELECT torc.workflows_that_name('compute_node_id', v_ids)
                UNION
                SELECT workflow_id FROM torc.workflow_action WHERE executed_by = ANY (v_ids)
            ),
            p_caller
        );
    END IF;
    RETURN p_workflow_id;
END
$$;

-- Before a failure handler is deleted, or with NULL all of a workflow: jobs forget them. Otherwise as
-- authorize_node_deletion().
CREATE OR REPLACE FUNCTION torc.authorize_handler_deletion(
    p_workflow_id bigint,
    p_handler_id bigint,
    p_caller torc.caller
)
RETURNS bigint
LANGUAGE plpgsql VOLATILE
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    IF p_caller.enforced THEN
        v_ids := ARRAY(
            SELECT id
            FROM torc.failure_handler
            WHERE workflow_id = p_workflow_id AND (p_handler_id IS NULL OR id = p_handler_id)
            ORDER BY id
            FOR UPDATE
        );
        PERFORM torc.authorize_side_effects(
            ARRAY(SELECT torc.workflows_that_name('failure_handler_id', v_ids)), p_caller
        );
    END IF;
    RETURN p_workflow_id;
END
$$;
