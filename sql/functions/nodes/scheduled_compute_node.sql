-- A scheduled compute node as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.scheduled_compute_node_json(n torc.scheduled_compute_node)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object(
        'id', n.id,
        'workflow_id', n.workflow_id,
        'scheduler_id', n.scheduler_id,
        'scheduler_config_id', n.scheduler_config_id,
        'scheduler_type', n.scheduler_type,
        'status', n.status
    )
$$;

-- Overwrites a scheduled compute node by a ScheduledComputeNodesModel. When its status says that the allocation is
-- over, the compute nodes that ran in it are made inactive, because clients search for orphans among the active ones.
-- They name it as the number at scheduler.scheduler_id. It may be repeated.
-- Returns the node, NULL if there is none. Locks its row, then those of the compute nodes. Raises TC403; TC422 for
-- another workflow.
CREATE OR REPLACE FUNCTION torc.update_scheduled_compute_node(
    p_id bigint,
    p_body jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.scheduled_compute_node := jsonb_populate_record(NULL::torc.scheduled_compute_node, p_body);
BEGIN
    UPDATE torc.scheduled_compute_node
    SET
        scheduler_id = v_new.scheduler_id,
        scheduler_config_id = v_new.scheduler_config_id,
        scheduler_type = v_new.scheduler_type,
        status = v_new.status
    WHERE id = p_id
        AND torc.authorize_workflow(workflow_id, p_caller) IS NOT NULL
        AND torc.expect_unchanged('workflow_id', workflow_id, v_new.workflow_id)
    RETURNING * INTO v_new;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF v_new.status IN ('complete', 'canceled') THEN
        PERFORM torc.deactivate_compute_nodes(v_new.workflow_id, ARRAY[p_id]);
    END IF;
    RETURN torc.scheduled_compute_node_json(v_new);
END
$$;

-- Deletes a scheduled compute node; the compute nodes that ran in it are no longer active. Returns it, NULL if there is
-- none. Locks its row, then those of the compute nodes. Raises TC403.
CREATE OR REPLACE FUNCTION torc.delete_scheduled_compute_node(p_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_deleted torc.scheduled_compute_node;
BEGIN
    DELETE FROM torc.scheduled_compute_node
    WHERE id = p_id AND torc.authorize_workflow(workflow_id, p_caller) IS NOT NULL
    RETURNING * INTO v_deleted;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.deactivate_compute_nodes(v_deleted.workflow_id, ARRAY[p_id]);
    RETURN torc.scheduled_compute_node_json(v_deleted);
END
$$;

-- Deletes all scheduled compute nodes of a workflow; returns how many. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_scheduled_compute_nodes(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_ids bigint[];
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    WITH deleted AS (
        DELETE FROM torc.scheduled_compute_node WHERE workflow_id = p_workflow_id RETURNING id
    )

    SELECT array_agg(id) INTO v_ids FROM deleted;
    PERFORM torc.deactivate_compute_nodes(p_workflow_id, v_ids);
    RETURN torc.audit_deletion(coalesce(cardinality(v_ids), 0), 'scheduled_compute_node', p_workflow_id, p_caller);
END
$$;

-- The compute nodes that ran in the given scheduled compute nodes are no longer active.
CREATE OR REPLACE FUNCTION torc.deactivate_compute_nodes(p_workflow_id bigint, p_scheduled_compute_node_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE torc.compute_node
    SET is_active = false
    WHERE workflow_id = p_workflow_id
        AND scheduler -> 'scheduler_id' IN (SELECT to_jsonb(id) FROM unnest(p_scheduled_compute_node_ids) AS id)
        AND is_active IS DISTINCT FROM false;
END
$$;
