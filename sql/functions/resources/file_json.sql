-- A file as it goes on the wire. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.file_json(f torc.file)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', f.id, 'workflow_id', f.workflow_id, 'name', f.name, 'path', f.path, 'st_mtime', f.st_mtime
    ))
$$;
