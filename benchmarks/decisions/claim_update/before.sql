-- Claims that lock by a function, return whole rows from the UPDATE and make the answers from those.
CREATE OR REPLACE FUNCTION torc.lock_workflow_for_claim(p_workflow_id bigint, p_caller torc.caller, p_labels text[])
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_has_ready boolean;
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    ELSE
        PERFORM torc.take_shared_lock(p_workflow_id);
    END IF;
    IF p_labels = '{}' THEN
        SELECT NOT is_canceled AND (
            SELECT true
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
            ORDER BY priority DESC, id  -- of job_ready_idx: another index of the workflow may have to read all of its jobs
            LIMIT 1
        ) IS NOT NULL
        INTO v_has_ready
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id;
    ELSE
        SELECT NOT is_canceled AND (
            SELECT true
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels > ''
            ORDER BY labels, priority DESC, id
            LIMIT 1
        ) IS NOT NULL
        INTO v_has_ready
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id;
    END IF;
    IF NOT FOUND THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    RETURN v_has_ready;
END
$$;

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

    SELECT format('[%s]', string_agg(
        concat(  -- as in job_json()
            '{"id":', id,
            ',"workflow_id":', workflow_id,
            ',"name":', to_json(name),
            ',"command":', to_json(command),
            ',"invocation_script":' || to_json(invocation_script)::text,
            ',"status":"', status,
            '","cancel_on_blocking_job_failure":' || cancel_on_blocking_job_failure,
            ',"supports_termination":' || supports_termination,
            CASE WHEN has_links THEN ',"output_file_ids":' || to_json(nullif(
                ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = claimed.id ORDER BY 1), '{}'
            ))::text END,
            CASE WHEN has_links THEN ',"output_user_data_ids":' || to_json(nullif(
                ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = claimed.id ORDER BY 1), '{}'
            ))::text END,
            ',"resource_requirements_id":' || resource_requirements_id,
            ',"failure_handler_id":' || failure_handler_id,
            ',"attempt_id":' || attempt_id,
            ',"priority":' || priority,
            ',"env":' || env::text,
            ',"labels":' || torc.labels_json(labels),
            ',"origin":"' || origin || '"',
            ',"compute_node_id":' || p_start_on,
            CASE WHEN p_start_on IS NOT NULL THEN ',"start_time":"' || torc.time_json(start_time) || '"' END,
            '}'
        ),
        ',' ORDER BY picked.place
    )),
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
