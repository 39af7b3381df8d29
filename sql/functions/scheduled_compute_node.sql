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

-- Overwrites a scheduled compute node by a ScheduledComputeNodesModel. When its status says that the allocation is over,
-- the compute nodes that ran in it are over too: clients look for orphans among the active ones. They name it as the
-- number at scheduler.scheduler_id. Saying it again is fine.
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
        AND torc.stays_in_workflow(workflow_id, v_new.workflow_id)
    RETURNING * INTO v_new;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF v_new.status IN ('complete', 'canceled') THEN
        UPDATE torc.compute_node
        SET is_active = false
        WHERE workflow_id = v_new.workflow_id
            AND scheduler -> 'scheduler_id' = to_jsonb(p_id)
            AND is_active IS DISTINCT FROM false;
    END IF;
    RETURN torc.scheduled_compute_node_json(v_new);
END
$$;
