-- A workflow as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.workflow_json(w torc.workflow)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', w.id,
        'name', w.name,
        'user', w."user",
        'description', w.description,
        'timestamp', to_char(w."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'status_id', w.id,
        'compute_node_expiration_buffer_seconds', w.compute_node_expiration_buffer_seconds,
        'compute_node_wait_for_new_jobs_seconds', w.compute_node_wait_for_new_jobs_seconds,
        'compute_node_ignore_workflow_completion', w.compute_node_ignore_workflow_completion,
        'compute_node_wait_for_healthy_database_minutes', w.compute_node_wait_for_healthy_database_minutes,
        'compute_node_min_time_for_new_jobs_seconds', w.compute_node_min_time_for_new_jobs_seconds,
        'resource_monitor_config', w.resource_monitor_config,
        'slurm_defaults', w.slurm_defaults,
        'use_pending_failed', w.use_pending_failed,
        'enable_ro_crate', w.enable_ro_crate,
        'project', w.project,
        'metadata', w.metadata,
        'slurm_config', w.slurm_config,
        'execution_config', w.execution_config
    ))
$$;

-- Creates a workflow from a WorkflowModel, with its run state (run 0) and the requirements named default. Answers the
-- model as it was sent, with id, status_id and timestamp; stored defaults show up when it is read. The workflow belongs
-- to the caller; to the user that the model names only if the caller is nobody.
-- Raises TC403: under access control a workflow has an owner.
CREATE OR REPLACE FUNCTION torc.create_workflow(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.workflow := jsonb_populate_record(NULL::torc.workflow, p_body - 'id' - 'timestamp');
    v_stored torc.workflow;
BEGIN
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed when access control is enabled');
    IF p_caller.name <> 'anonymous' THEN
        v_new."user" := p_caller.name;
    END IF;
    INSERT INTO torc.workflow (
        name, "user", description, compute_node_expiration_buffer_seconds, compute_node_wait_for_new_jobs_seconds,
        compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes,
        compute_node_min_time_for_new_jobs_seconds, resource_monitor_config, slurm_defaults, use_pending_failed,
        enable_ro_crate, project, metadata, slurm_config, execution_config
    )
    VALUES (
        v_new.name, v_new."user", v_new.description, v_new.compute_node_expiration_buffer_seconds,
        coalesce(v_new.compute_node_wait_for_new_jobs_seconds, 90),
        coalesce(v_new.compute_node_ignore_workflow_completion, false),
        coalesce(v_new.compute_node_wait_for_healthy_database_minutes, 20),
        coalesce(v_new.compute_node_min_time_for_new_jobs_seconds, 300),
        v_new.resource_monitor_config, v_new.slurm_defaults, v_new.use_pending_failed, v_new.enable_ro_crate,
        v_new.project, v_new.metadata, v_new.slurm_config, v_new.execution_config
    )
    RETURNING * INTO v_stored;
    INSERT INTO torc.workflow_status (workflow_id) VALUES (v_stored.id);
    INSERT INTO torc.resource_requirements (workflow_id, name, memory, runtime, memory_bytes, runtime_s)
    VALUES (v_stored.id, 'default', '1m', 'P0DT1M', torc.parse_memory('1m'), torc.parse_duration('P0DT1M'));
    v_new.id := v_stored.id;
    v_new."timestamp" := v_stored."timestamp";
    RETURN torc.workflow_json(v_new);
END
$$;

-- Deletes a workflow and everything below it; returns it. Jobs of another workflow go too if they use its requirements,
-- results if they came from its nodes. Locks as lock_requirements(). Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_workflow(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_answer json;
    v_deleted jsonb;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    PERFORM torc.lock_requirements(
        p_workflow_id, ARRAY(SELECT id FROM torc.resource_requirements WHERE workflow_id = p_workflow_id), p_caller
    );
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);  -- again, after the wait
    PERFORM torc.authorize_node_deletion(p_workflow_id, NULL, p_caller);
    PERFORM torc.authorize_handler_deletion(p_workflow_id, NULL, p_caller);
    SELECT torc.workflow_json(workflow) INTO v_answer FROM torc.workflow AS workflow WHERE id = p_workflow_id;
    SELECT jsonb_build_object('name', name, 'user', "user")
    INTO v_deleted
    FROM torc.workflow
    WHERE id = p_workflow_id;
    DELETE FROM torc.workflow WHERE id = p_workflow_id;
    PERFORM torc.audit(
        p_caller, 'delete_workflow',
        format('SELECT torc.delete_workflow(%s)', p_workflow_id), p_workflow_id, NULL, v_deleted
    );
    RETURN v_answer;
END
$$;
