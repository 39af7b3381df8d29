-- The scheduled compute node in which a node runs, from what its client says of its scheduler: the number scheduler_id.
CREATE OR REPLACE FUNCTION torc.scheduled_node_id(p_scheduler jsonb)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN jsonb_typeof(p_scheduler -> 'scheduler_id') = 'number' AND p_scheduler ->> 'scheduler_id' ~ '^[0-9]{1,18}$'
            THEN (p_scheduler ->> 'scheduler_id')::bigint
    END
$$;

-- A compute node as it goes on the wire: unset columns are left out, nulls inside scheduler stay. Whether it is active
-- reads as false where it was never set. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.compute_node_json(n torc.compute_node)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'id', n.id,
        'workflow_id', n.workflow_id,
        'hostname', n.hostname,
        'pid', n.pid,
        'start_time', n.start_time,
        'duration_seconds', n.duration_seconds,
        'is_active', coalesce(n.is_active, false),
        'num_cpus', n.num_cpus,
        'memory_gb', n.memory_gb,
        'memory', n.memory,
        'num_gpus', n.num_gpus,
        'num_nodes', n.num_nodes,
        'time_limit', n.time_limit,
        'scheduler_config_id', n.scheduler_config_id,
        'compute_node_type', n.compute_node_type,
        'end_time', n.end_time,
        'labels', n.labels,
        'sample_count', n.sample_count,
        'peak_cpu_percent', n.peak_cpu_percent,
        'avg_cpu_percent', n.avg_cpu_percent,
        'peak_memory_bytes', n.peak_memory_bytes,
        'avg_memory_bytes', n.avg_memory_bytes,
        'last_seen', to_char(n.last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    )) || CASE WHEN n.scheduler IS NULL THEN '{}' ELSE jsonb_build_object('scheduler', n.scheduler) END
$$;

-- Stores a ComputeNodeModel and tells open streams; returns it as it was sent, with its id: is_active stays absent
-- where it was. Raises TC404, TC403; TC422 for a memory that cannot be read.
CREATE OR REPLACE FUNCTION torc.create_compute_node(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.compute_node := jsonb_populate_record(NULL::torc.compute_node, p_body);
    v_answer jsonb;
BEGIN
    PERFORM torc.authorize_workflow(v_new.workflow_id, p_caller);
    INSERT INTO torc.compute_node (
        workflow_id, hostname, pid, start_time, duration_seconds, is_active, num_cpus, memory_gb, memory, num_gpus,
        num_nodes, time_limit, scheduler_config_id, compute_node_type, scheduler, end_time, labels, sample_count,
        peak_cpu_percent, avg_cpu_percent, peak_memory_bytes, avg_memory_bytes
    )
    VALUES (
        v_new.workflow_id, v_new.hostname, v_new.pid, v_new.start_time, v_new.duration_seconds, v_new.is_active,
        v_new.num_cpus, torc.node_memory_gb(v_new), v_new.memory, v_new.num_gpus,
        v_new.num_nodes, v_new.time_limit, v_new.scheduler_config_id, v_new.compute_node_type, v_new.scheduler,
        v_new.end_time, string_to_array(nullif(torc.join_labels(v_new.labels), ''), ','), v_new.sample_count,
        v_new.peak_cpu_percent, v_new.avg_cpu_percent, v_new.peak_memory_bytes, v_new.avg_memory_bytes
    )
    RETURNING * INTO v_new;
    PERFORM torc.publish_event(v_new.workflow_id, 'compute_node_started', 'info', jsonb_build_object(
        'compute_node_id', v_new.id, 'hostname', v_new.hostname, 'pid', v_new.pid, 'num_cpus', v_new.num_cpus,
        'memory_gb', v_new.memory_gb, 'num_gpus', v_new.num_gpus, 'compute_node_type', v_new.compute_node_type
    ));
    v_answer := torc.compute_node_json(v_new);
    RETURN CASE WHEN v_new.is_active IS NULL THEN v_answer - 'is_active' ELSE v_answer END;
END
$$;

-- Overwrites a compute node by a ComputeNodeModel; what is NULL there keeps its value, and so do the labels. A stored
-- memory text is deleted when it no longer says what memory_gb says. A body with is_active false tells open streams
-- that the node has stopped. Returns the node, NULL if there is none. Locks the row.
-- Raises TC403; TC422 for another workflow and for a memory that cannot be read.
CREATE OR REPLACE FUNCTION torc.update_compute_node(p_id bigint, p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.compute_node := jsonb_populate_record(NULL::torc.compute_node, p_body);
    v_workflow_id bigint;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.compute_node WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.authorize_workflow(v_workflow_id, p_caller);
    PERFORM torc.expect_unchanged('workflow_id', v_workflow_id, v_new.workflow_id);
    v_new.memory_gb := torc.node_memory_gb(v_new);

    UPDATE torc.compute_node AS node
    SET
        hostname = v_new.hostname,
        pid = v_new.pid,
        start_time = v_new.start_time,
        duration_seconds = coalesce(v_new.duration_seconds, node.duration_seconds),
        is_active = coalesce(v_new.is_active, node.is_active),
        timed_out_at = CASE WHEN v_new.is_active IS NULL THEN node.timed_out_at END,
        num_cpus = v_new.num_cpus,
        memory_gb = v_new.memory_gb,
        memory = coalesce(v_new.memory, CASE WHEN node.memory_gb = v_new.memory_gb THEN node.memory END),
        num_gpus = v_new.num_gpus,
        num_nodes = v_new.num_nodes,
        time_limit = coalesce(v_new.time_limit, node.time_limit),
        scheduler_config_id = coalesce(v_new.scheduler_config_id, node.scheduler_config_id),
        compute_node_type = v_new.compute_node_type,
        scheduler = coalesce(v_new.scheduler, node.scheduler),
        end_time = coalesce(v_new.end_time, node.end_time),
        sample_count = coalesce(v_new.sample_count, node.sample_count),
        peak_cpu_percent = coalesce(v_new.peak_cpu_percent, node.peak_cpu_percent),
        avg_cpu_percent = coalesce(v_new.avg_cpu_percent, node.avg_cpu_percent),
        peak_memory_bytes = coalesce(v_new.peak_memory_bytes, node.peak_memory_bytes),
        avg_memory_bytes = coalesce(v_new.avg_memory_bytes, node.avg_memory_bytes)
    WHERE id = p_id
    RETURNING * INTO v_new;
    IF (p_body ->> 'is_active')::boolean IS FALSE THEN
        PERFORM torc.publish_event(v_workflow_id, 'compute_node_stopped', 'info', jsonb_build_object(
            'compute_node_id', p_id, 'hostname', v_new.hostname, 'pid', v_new.pid,
            'duration_seconds', p_body -> 'duration_seconds', 'compute_node_type', v_new.compute_node_type
        ));
    END IF;
    RETURN torc.compute_node_json(v_new);
END
$$;

-- A node's memory in GiB: memory_gb, or what its memory text says. Raises TC422 for a text that cannot be read, without
-- the text: clients retry a node's calls when an error holds a word such as "network".
CREATE OR REPLACE FUNCTION torc.node_memory_gb(p_node torc.compute_node)
RETURNS double precision
LANGUAGE plpgsql
AS $$
DECLARE
    v_bytes bigint;
BEGIN
    v_bytes := torc.parse_memory(p_node.memory);  -- also where memory_gb is given: the text is stored
    RETURN coalesce(p_node.memory_gb, v_bytes::double precision / 1073741824);
EXCEPTION
    WHEN SQLSTATE 'TC422' THEN
        PERFORM torc.fail(
            'TC422', 'memory: must be digits and at most one letter k, m, g or t, as in 256g',
            jsonb_build_object('field', 'memory')
        );
END
$$;
