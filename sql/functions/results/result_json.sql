-- A result as it goes on the wire: unset columns are left out. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.result_json(r torc.result)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', r.id,
        'job_id', r.job_id,
        'workflow_id', r.workflow_id,
        'run_id', r.run_id,
        'attempt_id', r.attempt_id,
        'return_code', r.return_code,
        'exec_time_minutes', r.exec_time_minutes,
        'completion_time', r.completion_time,
        'status', r.status,
        'compute_node_id', r.compute_node_id,
        'peak_memory_bytes', r.peak_memory_bytes,
        'avg_memory_bytes', r.avg_memory_bytes,
        'peak_cpu_percent', r.peak_cpu_percent,
        'avg_cpu_percent', r.avg_cpu_percent,
        'exit_code', r.exit_code,
        'stdout', r.stdout,
        'stderr', r.stderr,
        'job_name', (SELECT name FROM torc.job WHERE id = r.job_id)
    ))
$$;
