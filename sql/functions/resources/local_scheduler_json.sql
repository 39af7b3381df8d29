-- A local scheduler as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.local_scheduler_json(s torc.local_scheduler)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', s.id, 'workflow_id', s.workflow_id, 'memory', s.memory, 'num_cpus', s.num_cpus
    ))
$$;
