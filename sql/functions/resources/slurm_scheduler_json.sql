-- A Slurm scheduler as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.slurm_scheduler_json(s torc.slurm_scheduler)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', s.id,
        'workflow_id', s.workflow_id,
        'name', s.name,
        'account', s.account,
        'gres', s.gres,
        'mem', s.mem,
        'nodes', s.nodes,
        'ntasks_per_node', s.ntasks_per_node,
        'partition', s.partition,
        'qos', s.qos,
        'tmp', s.tmp,
        'walltime', s.walltime,
        'extra', s.extra,
        'serialize_allocations', s.serialize_allocations
    ))
$$;
