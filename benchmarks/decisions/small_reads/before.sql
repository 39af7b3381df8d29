-- workflow_json() as one expression in a language that does not keep plans, with functions that are not inlined;
-- is_workflow_complete() and get_job() that read a row twice.
ALTER FUNCTION torc.text_or_object IMMUTABLE;
ALTER FUNCTION torc.execution_config_json IMMUTABLE;

CREATE OR REPLACE FUNCTION torc.workflow_json(w torc.workflow, p_caller torc.caller)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT concat(
        '{"id":', w.id,
        ',"name":', to_json(w.name),
        ',"user":', to_json(w."user"),
        ',"description":' || to_json(w.description)::text,
        ',"timestamp":"', to_char(w."timestamp" AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        '","status_id":', w.id,
        ',"run_id":' || status.run_id,
        ',"is_canceled":' || status.is_canceled,
        ',"is_archived":' || status.is_archived,
        ',"compute_node_expiration_buffer_seconds":' || w.compute_node_expiration_buffer_seconds,
        ',"compute_node_wait_for_new_jobs_seconds":' || w.compute_node_wait_for_new_jobs_seconds,
        ',"compute_node_ignore_workflow_completion":' || w.compute_node_ignore_workflow_completion,
        ',"compute_node_wait_for_healthy_database_minutes":' || w.compute_node_wait_for_healthy_database_minutes,
        ',"compute_node_min_time_for_new_jobs_seconds":' || w.compute_node_min_time_for_new_jobs_seconds,
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
        ',"submission_directory":' || to_json(w.submission_directory)::text,
        ',"access_groups":' || to_json(nullif(torc.groups_of_workflow(w.id), '{}'))::text,
        '}'
    )::json
    FROM (SELECT) AS always
    LEFT JOIN torc.workflow_status AS status ON status.workflow_id = w.id
$$;

CREATE OR REPLACE FUNCTION torc.is_workflow_complete(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    RETURN (
        SELECT json_build_object(
            'is_canceled', is_canceled,
            'is_complete', torc.is_finished(p_workflow_id),
            'needs_to_run_completion_script', has_detected_need_to_run_completion_script
        )
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id
    );
END
$$;

CREATE OR REPLACE FUNCTION torc.get_job(p_job_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    PERFORM torc.authorize_workflow(torc.workflow_of_job(p_job_id), p_caller);
    RETURN torc.job_with_relations_json(p_job_id);
END
$$;
