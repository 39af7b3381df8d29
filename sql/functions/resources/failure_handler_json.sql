-- A failure handler as it goes on the wire; rules stays the text that it was. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.failure_handler_json(h torc.failure_handler)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object('id', h.id, 'workflow_id', h.workflow_id, 'name', h.name, 'rules', h.rules)
$$;
