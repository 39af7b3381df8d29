-- A workflow as it goes on the wire, with its run state and the names of the groups that it is shared with; unset
-- columns are left out. Put together as text, as in job_json(): nulls inside free JSON stay. Most workflows have no
-- settings, and their expression takes as long to prepare as all others (benchmarks/decisions/small_reads).
-- plpgsql, so that its plans are kept.
CREATE OR REPLACE FUNCTION torc.workflow_json(w torc.workflow, p_caller torc.caller)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_status record;
BEGIN
    SELECT
        run_id, is_canceled, is_archived,
        EXISTS (SELECT 1 FROM torc.workflow_access_group WHERE workflow_id = w.id) AS is_shared
    INTO v_status
    FROM torc.workflow_status
    WHERE workflow_id = w.id;
    RETURN concat(
        '{"id":', w.id,
        ',"name":', to_json(w.name),
        ',"user":', to_json(w."user"),
        ',"description":' || to_json(w.description)::text,
        ',"timestamp":"', to_char(w."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        '","status_id":', w.id,
        ',"run_id":' || v_status.run_id,
        ',"is_canceled":' || v_status.is_canceled,
        ',"is_archived":' || v_status.is_archived,
        ',"compute_node_expiration_buffer_seconds":' || w.compute_node_expiration_buffer_seconds,
        ',"compute_node_wait_for_new_jobs_seconds":' || w.compute_node_wait_for_new_jobs_seconds,
        ',"compute_node_ignore_workflow_completion":' || w.compute_node_ignore_workflow_completion,
        ',"compute_node_wait_for_healthy_database_minutes":' || w.compute_node_wait_for_healthy_database_minutes,
        ',"compute_node_min_time_for_new_jobs_seconds":' || w.compute_node_min_time_for_new_jobs_seconds,
        CASE
            WHEN num_nonnulls(
                w.resource_monitor_config, w.slurm_defaults, w.use_pending_failed, w.enable_ro_crate, w.project,
                w.metadata, w.slurm_config, w.execution_config, w.env, w.dynamic_jobs, w.submission_directory
            ) > 0
                THEN torc.workflow_settings_json(w, p_caller)
        END,
        CASE WHEN v_status.is_shared THEN concat(',"access_groups":', to_json(torc.groups_of_workflow(w.id))) END,
        '}'
    );
END
$$;

-- A workflow, for get_workflow. Raises TC404, TC403. Without access control the row says that there is such a workflow,
-- which spares its reader a query.
CREATE OR REPLACE FUNCTION torc.get_workflow(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_answer json;
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    SELECT torc.workflow_json(workflow, p_caller) INTO v_answer FROM torc.workflow AS workflow WHERE id = p_workflow_id;
    IF NOT FOUND THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    RETURN v_answer;
END
$$;

-- The settings of a workflow that are mostly unset, each as a key and its value behind a comma.
CREATE OR REPLACE FUNCTION torc.workflow_settings_json(w torc.workflow, p_caller torc.caller)
RETURNS text
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN concat(
        ',"resource_monitor_config":' || CASE
            WHEN torc.wants_object(p_caller, 'resource_monitor_config' = ANY (w.written_as_object))
                THEN torc.normal_resource_monitor_config(torc.object_in(w.resource_monitor_config))::text
            ELSE to_json(w.resource_monitor_config)::text
        END,
        ',"slurm_defaults":' || torc.text_or_object(
            w.slurm_defaults, torc.wants_object(p_caller, 'slurm_defaults' = ANY (w.written_as_object))
        ),
        ',"use_pending_failed":' || w.use_pending_failed,
        ',"enable_ro_crate":' || w.enable_ro_crate,
        ',"project":' || to_json(w.project)::text,
        ',"metadata":' || torc.text_or_object(
            w.metadata, torc.wants_object(p_caller, 'metadata' = ANY (w.written_as_object))
        ),
        ',"slurm_config":' || to_json(w.slurm_config)::text,
        ',"execution_config":' || torc.execution_config_json(
            w.execution_config, torc.wants_object(p_caller, 'execution_config' = ANY (w.written_as_object)), p_caller
        ),
        ',"env":' || w.env::text,
        ',"dynamic_jobs":' || w.dynamic_jobs::text,
        ',"submission_directory":' || to_json(w.submission_directory)::text
    );
END
$$;

-- The names of the groups that a workflow is shared with, sorted.
CREATE OR REPLACE FUNCTION torc.groups_of_workflow(p_workflow_id bigint)
RETURNS text[]
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN ARRAY(
        SELECT (SELECT name FROM torc.access_group WHERE id = shared.group_id)
        FROM torc.workflow_access_group AS shared
        WHERE shared.workflow_id = p_workflow_id
        ORDER BY 1
    );
END
$$;

-- Creates a workflow from a WorkflowModel, with its run state (run 0), the requirements named default, and its groups.
-- Answers the model as it was sent, with id, status_id, timestamp and run state; stored defaults show up when it is
-- read. The workflow belongs to the caller; to the user that the model names only if the caller has no name.
-- Raises TC403: under access control a workflow has an owner. TC422: there is no group of that name.
CREATE OR REPLACE FUNCTION torc.create_workflow(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.workflow := torc.new_workflow(p_body);
    v_stored torc.workflow;
BEGIN
    PERFORM torc.refuse_anonymous(p_caller, 'Anonymous access not allowed when access control is enabled');
    IF p_caller.name <> 'anonymous' THEN
        v_new."user" := p_caller.name;
    END IF;
    INSERT INTO torc.workflow (
        "timestamp", name, "user", description,
        compute_node_expiration_buffer_seconds, compute_node_wait_for_new_jobs_seconds,
        compute_node_ignore_workflow_completion, compute_node_wait_for_healthy_database_minutes,
        compute_node_min_time_for_new_jobs_seconds, resource_monitor_config, slurm_defaults, use_pending_failed,
        enable_ro_crate, project, metadata, slurm_config, execution_config, written_as_object, env, dynamic_jobs,
        submission_directory
    )
    VALUES (
        torc.now(), v_new.name, v_new."user", v_new.description, v_new.compute_node_expiration_buffer_seconds,
        coalesce(v_new.compute_node_wait_for_new_jobs_seconds, 90),
        coalesce(v_new.compute_node_ignore_workflow_completion, false),
        coalesce(v_new.compute_node_wait_for_healthy_database_minutes, 20),
        coalesce(v_new.compute_node_min_time_for_new_jobs_seconds, 300),
        v_new.resource_monitor_config, v_new.slurm_defaults, v_new.use_pending_failed, v_new.enable_ro_crate,
        v_new.project, v_new.metadata, v_new.slurm_config, v_new.execution_config, v_new.written_as_object, v_new.env,
        v_new.dynamic_jobs, v_new.submission_directory
    )
    RETURNING * INTO v_stored;
    INSERT INTO torc.workflow_status (workflow_id) VALUES (v_stored.id);
    INSERT INTO torc.resource_requirements (workflow_id, name, memory, runtime, memory_bytes, runtime_s)
    VALUES (v_stored.id, 'default', '1m', 'P0DT1M', torc.parse_memory('1m'), torc.parse_duration('P0DT1M'));
    PERFORM torc.share_with_groups(v_stored.id, p_body -> 'access_groups');
    v_new.id := v_stored.id;
    v_new."timestamp" := v_stored."timestamp";
    RETURN torc.workflow_json(v_new, p_caller);
END
$$;

-- A WorkflowModel as a row. An empty env is none.
CREATE OR REPLACE FUNCTION torc.new_workflow(p_body jsonb)
RETURNS torc.workflow
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    v_new torc.workflow := jsonb_populate_record(NULL::torc.workflow, p_body - 'id' - 'timestamp');
BEGIN
    v_new.env := nullif(v_new.env, '{}');
    v_new.written_as_object := torc.object_keys(
        p_body, '{metadata, slurm_defaults, execution_config, resource_monitor_config}'
    );
    RETURN v_new;
END
$$;

-- Shares a new workflow with groups, given by their names: its creator need not be in them. Raises TC422.
CREATE OR REPLACE FUNCTION torc.share_with_groups(p_workflow_id bigint, p_names jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_name text;
    v_group_id bigint;
BEGIN
    FOR v_name IN SELECT jsonb_array_elements_text(p_names) LOOP
        SELECT id INTO v_group_id FROM torc.access_group WHERE name = v_name FOR KEY SHARE;
        IF NOT FOUND THEN
            PERFORM torc.fail(
                'TC422',
                format('Unknown access group ''%s'': create the group before referencing it', v_name),
                jsonb_build_object('field', 'access_groups', 'value', v_name)
            );
        END IF;
        INSERT INTO torc.workflow_access_group (workflow_id, group_id) VALUES (p_workflow_id, v_group_id);
    END LOOP;
END
$$;

-- Changes a workflow by a WorkflowModel: name and user, and what else is given; what is not named here cannot be
-- changed after creation. Locks the workflow's row. Raises TC404, TC403; TC422 where a value that must stay is another
-- one.
CREATE OR REPLACE FUNCTION torc.update_workflow(p_workflow_id bigint, p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.workflow := torc.new_workflow(p_body);
    v_stored torc.workflow;
    v_changed torc.workflow;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    SELECT * INTO v_stored FROM torc.workflow WHERE id = p_workflow_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN  -- deleted during the wait
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    PERFORM torc.authorize_user_change(v_stored."user", v_new."user", p_caller);
    PERFORM torc.refuse_fixed_fields(v_stored, v_new, p_body);
    UPDATE torc.workflow
    SET
        name = v_new.name,
        "user" = v_new."user",
        description = coalesce(v_new.description, description),
        compute_node_expiration_buffer_seconds
        = coalesce(v_new.compute_node_expiration_buffer_seconds, compute_node_expiration_buffer_seconds),
        compute_node_wait_for_new_jobs_seconds
        = coalesce(v_new.compute_node_wait_for_new_jobs_seconds, compute_node_wait_for_new_jobs_seconds),
        compute_node_ignore_workflow_completion
        = coalesce(v_new.compute_node_ignore_workflow_completion, compute_node_ignore_workflow_completion),
        compute_node_wait_for_healthy_database_minutes
        = coalesce(
            v_new.compute_node_wait_for_healthy_database_minutes, compute_node_wait_for_healthy_database_minutes
        ),
        use_pending_failed = coalesce(v_new.use_pending_failed, use_pending_failed),
        enable_ro_crate = coalesce(v_new.enable_ro_crate, enable_ro_crate),
        project = coalesce(v_new.project, project),
        metadata = coalesce(v_new.metadata, metadata),
        slurm_config = coalesce(v_new.slurm_config, slurm_config),
        execution_config = coalesce(v_new.execution_config, execution_config),
        written_as_object = ARRAY(
            SELECT key
            FROM unnest(written_as_object) AS key
            WHERE NOT (key IN ('metadata', 'execution_config') AND p_body ? key)
        ) || torc.object_keys(p_body, '{metadata, execution_config}')
    WHERE id = p_workflow_id
    RETURNING * INTO v_changed;
    PERFORM torc.audit_owner(v_changed, v_stored."user", p_caller);
    RETURN torc.workflow_json(v_changed, p_caller);
END
$$;

-- Raises TC422 for a field that is fixed at creation and comes with another value than the stored one.
CREATE OR REPLACE FUNCTION torc.refuse_fixed_fields(p_stored torc.workflow, p_new torc.workflow, p_body jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_field text;
BEGIN
    v_field := CASE
        WHEN p_body ? 'env' AND p_new.env IS DISTINCT FROM p_stored.env THEN 'env'
        WHEN p_body ? 'dynamic_jobs' AND p_new.dynamic_jobs IS DISTINCT FROM p_stored.dynamic_jobs THEN 'dynamic_jobs'
        WHEN p_new.submission_directory <> coalesce(p_stored.submission_directory, '') THEN 'submission_directory'
        WHEN p_body ? 'access_groups' AND torc.groups_of_workflow(p_stored.id) <> ARRAY(
            SELECT name COLLATE "C" FROM jsonb_array_elements_text(p_body -> 'access_groups') AS name ORDER BY 1
        ) THEN 'access_groups'
    END;
    IF v_field = 'access_groups' THEN
        PERFORM torc.fail(
            'TC422',
            'Cannot modify access_groups via update - use add_workflow_to_group / remove_workflow_from_group',
            jsonb_build_object('field', v_field)
        );
    ELSIF v_field IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422',
            format('Cannot modify %s - this field is immutable after workflow creation', v_field),
            jsonb_build_object('field', v_field)
        );
    END IF;
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
    SELECT torc.workflow_json(workflow, p_caller) INTO v_answer FROM torc.workflow AS workflow WHERE id = p_workflow_id;
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
