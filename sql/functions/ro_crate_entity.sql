-- An RO-Crate entity as it goes on the wire; metadata stays the text that it was. Inlined into the calling statement.
CREATE OR REPLACE FUNCTION torc.ro_crate_entity_json(e torc.ro_crate_entity)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT json_strip_nulls(json_build_object(
        'id', e.id,
        'workflow_id', e.workflow_id,
        'file_id', e.file_id,
        'entity_id', e.entity_id,
        'entity_type', e.entity_type,
        'metadata', e.metadata
    ))
$$;

-- Returns the file's id if it is in the workflow; NULL for NULL. Raises TC422.
CREATE OR REPLACE FUNCTION torc.expect_file(p_file_id bigint, p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql STRICT
AS $$
BEGIN
    IF NOT EXISTS (SELECT 1 FROM torc.file WHERE id = p_file_id AND workflow_id = p_workflow_id) THEN
        PERFORM torc.fail_for_unknown('file_id', p_file_id, p_workflow_id);
    END IF;
    RETURN p_file_id;
END
$$;
