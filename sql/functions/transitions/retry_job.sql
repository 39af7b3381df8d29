-- Makes a running, failed or terminated job ready for its next attempt, and stores an event. p_max_retries is the
-- highest attempt, not the number of extra ones.
-- Locks: workflow shared, the job's row, dependents by id. Raises TC404, TC403, TC422 (run, status, attempts used up).
CREATE OR REPLACE FUNCTION torc.retry_job(
    p_job_id bigint,
    p_run_id bigint,
    p_max_retries bigint,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
    v_retried torc.job;
BEGIN
    PERFORM torc.check_run_id(v_job.workflow_id, p_run_id);
    IF NOT torc.is_retryable(v_job.status) THEN
        PERFORM torc.fail('TC422', format(
            'Job cannot be retried: status is %s, must be running, failed or terminated', v_job.status
        ));
    END IF;
    IF v_job.attempt_id >= p_max_retries THEN
        PERFORM torc.fail(
            'TC422',
            format('Job cannot be retried: attempt_id=%s >= max_retries=%s', v_job.attempt_id, p_max_retries),
            jsonb_build_object('field', 'max_retries', 'value', p_max_retries)
        );
    END IF;
    UPDATE torc.job
    SET
        status = 'ready',
        ready_at = torc.now(),
        attempt_id = attempt_id + 1,
        attempt_run_id = p_run_id,
        active_compute_node_id = NULL,
        origin = coalesce(origin, 'retry')
    WHERE id = p_job_id
    RETURNING * INTO v_retried;
    PERFORM torc.settle_dependents(ARRAY[(p_job_id, v_job.status, 'ready')::torc.status_change]);
    INSERT INTO torc.event (workflow_id, "timestamp", data)
    VALUES (v_job.workflow_id, torc.now_ms(), jsonb_build_object(
        'event_type', 'job_retried',
        'job_id', p_job_id,
        'job_name', v_job.name,
        'previous_attempt', v_job.attempt_id,
        'new_attempt', v_retried.attempt_id,
        'run_id', p_run_id,
        'message', format(
            'Job with name = %s retried: attempt %s -> %s', v_job.name, v_job.attempt_id, v_retried.attempt_id
        )
    ));
    PERFORM torc.publish_event(v_job.workflow_id, 'job_retried', 'info', jsonb_build_object(
        'job_id', p_job_id, 'job_name', v_job.name, 'new_attempt', v_retried.attempt_id, 'run_id', p_run_id
    ));
    RETURN torc.job_json(v_retried);
END
$$;
