-- get_workflow and is_workflow_complete that check for the workflow by one more query also where access control is off;
-- groups of a workflow that are read whether there are any or not.
CREATE OR REPLACE FUNCTION torc.get_workflow(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (SELECT torc.workflow_json(workflow, p_caller) FROM torc.workflow AS workflow WHERE id = p_workflow_id);
END
$$;

CREATE OR REPLACE FUNCTION torc.workflow_json(w torc.workflow, p_caller torc.caller)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_status torc.workflow_status;
    v_groups text[] := torc.groups_of_workflow(w.id);
BEGIN
    SELECT * INTO v_status FROM torc.workflow_status WHERE workflow_id = w.id;
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
        CASE WHEN v_groups <> '{}' THEN concat(',"access_groups":', to_json(v_groups)) END,
        '}'
    );
END
$$;

CREATE OR REPLACE FUNCTION torc.is_workflow_complete(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        SELECT concat(  -- as is_finished(), which would read the row once more
            '{"is_canceled":' || is_canceled,
            ',"is_complete":' || (is_canceled OR NOT torc.has_open_jobs(p_workflow_id)),
            ',"needs_to_run_completion_script":' || has_detected_need_to_run_completion_script,
            '}'
        )
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id
    );
END
$$;
