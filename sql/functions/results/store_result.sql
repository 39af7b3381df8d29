-- Inserts a result and, unless p_is_current is false, makes it the current one of its job; returns its id. The caller
-- holds the job's row, and has called keep_references() for the compute node. Breaks the result's own key when the
-- attempt is stored already (409).
CREATE OR REPLACE FUNCTION torc.store_result(
    p_result torc.result,
    p_is_current boolean DEFAULT true
)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_id bigint;
BEGIN
    IF p_is_current THEN
        UPDATE torc.result SET is_current = false WHERE job_id = p_result.job_id AND is_current;
    END IF;
    INSERT INTO torc.result (
        job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
        compute_node_id, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent,
        exit_code, stdout, stderr, is_current
    )
    VALUES (
        p_result.job_id, p_result.workflow_id, p_result.run_id, p_result.attempt_id, p_result.return_code,
        p_result.exec_time_minutes, p_result.completion_time, p_result.status, p_result.compute_node_id,
        p_result.peak_memory_bytes, p_result.avg_memory_bytes, p_result.peak_cpu_percent, p_result.avg_cpu_percent,
        p_result.exit_code, p_result.stdout, p_result.stderr, p_is_current
    )
    RETURNING id INTO v_id;
    RETURN v_id;
END
$$;
