-- An event as it goes on the wire: data is always there, null too. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.event_json(e torc.event)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_build_object('id', e.id, 'workflow_id', e.workflow_id, 'timestamp', e."timestamp", 'data', e.data)
$$;
