-- Requirements, failure handlers and compute nodes may be named by rows of another workflow than their own. Under
-- access control that reaches no further than the caller may: rows that the caller may not use cannot be named; and
-- what rows of others name cannot be deleted under them, see authorize_deletion.sql.

-- Under access control, refuses an id of a workflow that the caller may not use, with the answer for a missing row: so
-- a caller cannot find out which ids exist. Raises TC422 naming the field.
CREATE OR REPLACE FUNCTION torc.authorize_references(
    p_workflow_id bigint,
    p_field text,
    p_ids bigint[],
    p_caller torc.caller
)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_caller.enforced IS NOT TRUE THEN
        RETURN;
    END IF;
    IF EXISTS (
        SELECT 1
        FROM torc.workflows_of(p_field, p_ids) AS named (workflow_id)
        WHERE named.workflow_id <> p_workflow_id AND NOT torc.may_use_workflow(named.workflow_id, p_caller)
    ) THEN
        PERFORM torc.fail('TC422', format('%s: there is no such row', p_field), jsonb_build_object('field', p_field));
    END IF;
END
$$;

-- As authorize_references(), for the compute node of a job, a result or an action. Nearly always it is one of the same
-- workflow: that is found in 6 µs, where the general question takes 50.
CREATE OR REPLACE FUNCTION torc.authorize_node_reference(p_workflow_id bigint, p_node_id bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF p_caller.enforced AND NOT EXISTS (
        SELECT 1 FROM torc.compute_node WHERE id = p_node_id AND workflow_id = p_workflow_id
    ) THEN
        PERFORM torc.authorize_references(p_workflow_id, 'compute_node_id', ARRAY[p_node_id], p_caller);
    END IF;
END
$$;

-- The workflows of the rows that a field names.
CREATE OR REPLACE FUNCTION torc.workflows_of(p_field text, p_ids bigint[])
RETURNS SETOF bigint
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    CASE p_field
        WHEN 'resource_requirements_id' THEN
            RETURN QUERY SELECT DISTINCT workflow_id FROM torc.resource_requirements WHERE id = ANY (p_ids);
        WHEN 'failure_handler_id' THEN
            RETURN QUERY SELECT DISTINCT workflow_id FROM torc.failure_handler WHERE id = ANY (p_ids);
        WHEN 'compute_node_id' THEN
            RETURN QUERY SELECT DISTINCT workflow_id FROM torc.compute_node WHERE id = ANY (p_ids);
    END CASE;
END
$$;
