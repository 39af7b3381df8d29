-- User data as it goes on the wire: no data, no key; nulls inside the data stay. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.user_data_json(u torc.user_data)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_build_object(
        'id', u.id, 'workflow_id', u.workflow_id, 'name', u.name, 'is_ephemeral', u.is_ephemeral
    ) || CASE WHEN u.data IS NULL THEN '{}' ELSE jsonb_build_object('data', u.data) END
$$;
