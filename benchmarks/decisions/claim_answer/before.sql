-- claim_locked_jobs() as it built the answer of a claim: objects of which the nulls were removed.
CREATE OR REPLACE FUNCTION torc.claim_locked_jobs(p_job_ids bigint[], p_start_on bigint, p_compute_node_id bigint)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_answer json;
    v_waited bigint[];
BEGIN
    IF p_job_ids = '{}' THEN
        RETURN '[]';
    END IF;
    WITH claimed AS (
        UPDATE torc.job
        SET
            status = CASE WHEN p_start_on IS NULL THEN 'pending' ELSE 'running' END::torc.job_status,
            claimed_at = clock_timestamp(),
            active_compute_node_id = coalesce(p_start_on, p_compute_node_id),
            start_time = CASE WHEN p_start_on IS NOT NULL THEN clock_timestamp() END
        WHERE id = ANY (p_job_ids)
        RETURNING *
    )

    SELECT json_agg(
        json_strip_nulls(json_build_object(
            'id', id,
            'workflow_id', workflow_id,
            'name', name,
            'command', command,
            'invocation_script', invocation_script,
            'status', status,
            'cancel_on_blocking_job_failure', cancel_on_blocking_job_failure,
            'supports_termination', supports_termination,
            'output_file_ids', CASE WHEN has_links THEN nullif(
                ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = claimed.id ORDER BY 1), '{}'
            ) END,
            'output_user_data_ids', CASE WHEN has_links THEN nullif(
                ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = claimed.id ORDER BY 1), '{}'
            ) END,
            'resource_requirements_id', resource_requirements_id,
            'failure_handler_id', failure_handler_id,
            'attempt_id', attempt_id,
            'priority', priority,
            'env', env,
            'labels', CASE WHEN labels <> '' THEN string_to_array(labels, ',') END,
            'origin', origin,
            'compute_node_id', p_start_on,
            'start_time', CASE WHEN p_start_on IS NOT NULL THEN torc.time_json(start_time) END
        ))
        ORDER BY picked.place
    ),
    array_agg((extract(epoch FROM claimed_at - ready_at) * 1000)::bigint) FILTER (WHERE ready_at IS NOT NULL)
    INTO v_answer, v_waited
    FROM claimed
    INNER JOIN unnest(p_job_ids) WITH ORDINALITY AS picked (job_id, place) ON picked.job_id = claimed.id;
    IF p_start_on IS NOT NULL THEN
        PERFORM torc.publish_starts(v_answer, p_start_on);
    END IF;
    PERFORM set_config(
        'torc.waited',
        concat_ws(',', nullif(current_setting('torc.waited', true), ''), array_to_string(v_waited[1:1000], ',')),
        true
    );
    RETURN v_answer;
END
$$;
