-- Makes locked ready jobs pending, or running on a compute node, and returns them as the claim endpoints answer them:
-- in the given order, with their outputs, without scheduler_id, inputs and dependencies. Open streams hear of what
-- starts. p_compute_node_id: the node of a claim that named it and does not start; its jobs are ready again when the
-- node is given up. For how long the jobs were ready, in ms and for the first 1000 of them, is appended to the
-- transaction's setting torc.waited, from which the server makes a histogram.
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
    IF p_compute_node_id IS NOT NULL THEN
        PERFORM torc.keep_references(
            (SELECT workflow_id FROM torc.job WHERE id = p_job_ids[1]), 'compute_node_id', ARRAY[p_compute_node_id]
        );
    END IF;
    WITH claimed AS (
        UPDATE torc.job AS job
        SET
            status = CASE WHEN p_start_on IS NULL THEN 'pending' ELSE 'running' END::torc.job_status,
            claimed_at = torc.now(),
            active_compute_node_id = coalesce(p_start_on, p_compute_node_id),
            start_time = CASE WHEN p_start_on IS NOT NULL THEN torc.now() END
        WHERE id = ANY (p_job_ids)
        RETURNING
            id,
            (extract(epoch FROM claimed_at - ready_at) * 1000)::bigint AS waited,
            torc.job_text(
                id, workflow_id, name, command, invocation_script, status, cancel_on_blocking_job_failure,
                supports_termination, NULL, NULL,
                CASE
                    WHEN has_links THEN nullif(
                        ARRAY(SELECT file_id FROM torc.job_output_file WHERE job_id = job.id ORDER BY 1), '{}'
                    )
                END,
                NULL,
                CASE
                    WHEN has_links THEN nullif(
                        ARRAY(SELECT user_data_id FROM torc.job_output_user_data WHERE job_id = job.id ORDER BY 1), '{}'
                    )
                END,
                resource_requirements_id, NULL, failure_handler_id, attempt_id, priority, env, labels, origin,
                p_start_on, start_time, NULL, true
            ) AS item
    )

    SELECT
        concat('[', string_agg(claimed.item, ',' ORDER BY picked.place), ']'),
        array_agg(claimed.waited) FILTER (WHERE claimed.waited IS NOT NULL)
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

-- Notifies open streams of jobs that have started, given as the claim answers them.
CREATE OR REPLACE FUNCTION torc.publish_starts(p_jobs json, p_node_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := p_jobs #>> '{0,workflow_id}';
BEGIN
    IF torc.is_watched(v_workflow_id) THEN
        PERFORM torc.publish_event(v_workflow_id, 'job_started', 'info', jsonb_build_object(
            'job_id', job -> 'id', 'job_name', job -> 'name', 'compute_node_id', p_node_id, 'run_id', (
                SELECT run_id FROM torc.workflow_status WHERE workflow_id = v_workflow_id
            )
        ))
        FROM json_array_elements(p_jobs) AS job;
    END IF;
END
$$;
