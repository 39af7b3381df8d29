-- Resource requirements as they go on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.resource_requirements_json(r torc.resource_requirements)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object(
        'id', r.id, 'workflow_id', r.workflow_id, 'name', r.name, 'num_cpus', r.num_cpus, 'num_gpus', r.num_gpus,
        'num_nodes', r.num_nodes, 'memory', r.memory, 'runtime', r.runtime
    )
$$;

-- Stores a complete ResourceRequirementsModel and returns it. Raises TC404, TC403; TC422 naming field and value.
CREATE OR REPLACE FUNCTION torc.create_resource_requirements(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.resource_requirements := jsonb_populate_record(NULL::torc.resource_requirements, p_body);
BEGIN
    IF v_new.name = 'default' THEN
        PERFORM torc.fail(
            'TC422',
            'name: the requirements named default are made with the workflow; change those, or choose another name',
            jsonb_build_object('field', 'name', 'value', v_new.name)
        );
    END IF;
    PERFORM torc.authorize_workflow(v_new.workflow_id, p_caller);
    v_new.memory_bytes := torc.parse_memory(v_new.memory);
    v_new.runtime_s := torc.parse_duration(v_new.runtime);
    PERFORM torc.check_num_cpus(v_new.num_cpus, p_caller);
    PERFORM torc.check_num_nodes(v_new.num_nodes);

    INSERT INTO torc.resource_requirements (
        workflow_id, name, num_cpus, num_gpus, num_nodes, memory, runtime, memory_bytes, runtime_s
    )
    VALUES (
        v_new.workflow_id, v_new.name, v_new.num_cpus, v_new.num_gpus, v_new.num_nodes, v_new.memory, v_new.runtime,
        v_new.memory_bytes, v_new.runtime_s
    )
    RETURNING * INTO v_new;
    RETURN torc.resource_requirements_json(v_new);
END
$$;

-- Replaces resource requirements by a complete ResourceRequirementsModel, stores the event that says who did it, and
-- returns them; NULL if there is no such row. A runtime equal to the stored one passes unparsed: data imported from
-- the reference may hold leftovers after a duration, and its clients write back what they have read.
-- Locks the row. Raises TC403; TC422 naming the field and the value.
CREATE OR REPLACE FUNCTION torc.update_resource_requirements(
    p_id bigint,
    p_body jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.resource_requirements := jsonb_populate_record(NULL::torc.resource_requirements, p_body);
    v_old torc.resource_requirements;
BEGIN
    SELECT * INTO v_old FROM torc.resource_requirements WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.authorize_workflow(v_old.workflow_id, p_caller);
    PERFORM torc.expect_unchanged('workflow_id', v_old.workflow_id, v_new.workflow_id);
    v_new.memory_bytes := torc.parse_memory(v_new.memory);
    v_new.runtime_s := CASE
        WHEN v_new.runtime = v_old.runtime THEN v_old.runtime_s
        ELSE torc.parse_duration(v_new.runtime)
    END;
    PERFORM torc.check_num_cpus(v_new.num_cpus, p_caller);
    PERFORM torc.check_num_nodes(v_new.num_nodes);

    UPDATE torc.resource_requirements
    SET
        name = v_new.name,
        num_cpus = v_new.num_cpus,
        num_gpus = v_new.num_gpus,
        num_nodes = v_new.num_nodes,
        memory = v_new.memory,
        runtime = v_new.runtime,
        memory_bytes = v_new.memory_bytes,
        runtime_s = v_new.runtime_s
    WHERE id = p_id
    RETURNING * INTO v_new;
    PERFORM torc.store_user_action(
        v_new.workflow_id, p_caller, 'update_resource_requirements',
        jsonb_build_object(
            'resource_requirements_id', p_id, 'name', v_new.name, 'num_cpus', v_new.num_cpus,
            'num_gpus', v_new.num_gpus, 'num_nodes', v_new.num_nodes, 'memory', v_new.memory, 'runtime', v_new.runtime
        )
    );
    RETURN torc.resource_requirements_json(v_new);
END
$$;

-- Clients of torc 0.22.2 may store requirements without CPUs. Raises TC422 for others.
CREATE OR REPLACE FUNCTION torc.check_num_cpus(p_num_cpus bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_num_cpus <= 0 AND p_caller.dialect = 'objects' THEN
        PERFORM torc.fail(
            'TC422', format('num_cpus must be > 0, got %s', p_num_cpus),
            jsonb_build_object('field', 'num_cpus', 'value', p_num_cpus)
        );
    END IF;
END
$$;

-- Raises TC422 for less than one node.
CREATE OR REPLACE FUNCTION torc.check_num_nodes(p_num_nodes bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_num_nodes <= 0 THEN
        PERFORM torc.fail(
            'TC422', format('num_nodes must be > 0, got %s', p_num_nodes),
            jsonb_build_object('field', 'num_nodes', 'value', p_num_nodes)
        );
    END IF;
END
$$;
