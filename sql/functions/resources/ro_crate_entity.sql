-- An RO-Crate entity as it goes on the wire. Its metadata are a text or an object, as the caller wants them; a text
-- that holds no object is an empty one. Put together as text, as in job_json(): nulls inside metadata stay.
CREATE OR REPLACE FUNCTION torc.ro_crate_entity_json(e torc.ro_crate_entity, p_caller torc.caller)
RETURNS json
LANGUAGE sql STABLE
AS $$
    SELECT concat(
        '{"id":', e.id,
        ',"workflow_id":', e.workflow_id,
        ',"file_id":' || e.file_id,
        ',"entity_id":', to_json(e.entity_id),
        ',"entity_type":', to_json(e.entity_type),
        ',"metadata":', coalesce(
            torc.text_or_object(e.metadata, torc.wants_object(p_caller, e.written_as_object)), '{}'
        ),
        '}'
    )::json
$$;

-- Stores a RoCrateEntityModel and returns it. Raises TC404, TC403; TC422 for a file that is not in the workflow, and
-- for an entity that exists already.
CREATE OR REPLACE FUNCTION torc.create_ro_crate_entity(p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.ro_crate_entity := jsonb_populate_record(NULL::torc.ro_crate_entity, p_body);
BEGIN
    PERFORM torc.authorize_workflow(v_new.workflow_id, p_caller);
    PERFORM torc.expect_file(v_new.file_id, v_new.workflow_id);
    PERFORM torc.refuse_second_entity_of_file(v_new.file_id, v_new.workflow_id, NULL, p_caller);
    INSERT INTO torc.ro_crate_entity (workflow_id, file_id, entity_id, entity_type, metadata, written_as_object)
    VALUES (
        v_new.workflow_id, v_new.file_id, v_new.entity_id, v_new.entity_type, v_new.metadata,
        jsonb_typeof(p_body -> 'metadata') = 'object'
    )
    RETURNING * INTO v_new;
    RETURN torc.ro_crate_entity_json(v_new, p_caller);
EXCEPTION
    WHEN unique_violation THEN
        PERFORM torc.fail_for_entity('entity_id');
END
$$;

-- Replaces an entity by a RoCrateEntityModel and returns it, NULL if there is none. Locks its row. Raises TC403; TC422
-- for another workflow, and as create_ro_crate_entity().
CREATE OR REPLACE FUNCTION torc.update_ro_crate_entity(p_id bigint, p_body jsonb, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_new torc.ro_crate_entity := jsonb_populate_record(NULL::torc.ro_crate_entity, p_body);
    v_workflow_id bigint;
BEGIN
    SELECT workflow_id INTO v_workflow_id FROM torc.ro_crate_entity WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.authorize_workflow(v_workflow_id, p_caller);
    PERFORM torc.expect_unchanged('workflow_id', v_workflow_id, v_new.workflow_id);
    PERFORM torc.expect_file(v_new.file_id, v_workflow_id);
    PERFORM torc.refuse_second_entity_of_file(v_new.file_id, v_workflow_id, p_id, p_caller);
    UPDATE torc.ro_crate_entity
    SET
        file_id = v_new.file_id,
        entity_id = v_new.entity_id,
        entity_type = v_new.entity_type,
        metadata = v_new.metadata,
        written_as_object = jsonb_typeof(p_body -> 'metadata') = 'object'
    WHERE id = p_id
    RETURNING * INTO v_new;
    RETURN torc.ro_crate_entity_json(v_new, p_caller);
EXCEPTION
    WHEN unique_violation THEN
        PERFORM torc.fail_for_entity('entity_id');
END
$$;

-- Clients that read objects expect one entity for each file, and skip a file that has one. Earlier clients may make
-- several, as they always could. Locks the file, so that two calls do not both find none. Raises TC422.
CREATE OR REPLACE FUNCTION torc.refuse_second_entity_of_file(
    p_file_id bigint,
    p_workflow_id bigint,
    p_id bigint,
    p_caller torc.caller
)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_file_id IS NULL OR p_caller.dialect IS DISTINCT FROM 'objects' THEN
        RETURN;
    END IF;
    PERFORM 1 FROM torc.file WHERE id = p_file_id FOR NO KEY UPDATE;
    IF EXISTS (SELECT 1 FROM torc.ro_crate_entity WHERE file_id = p_file_id AND id IS DISTINCT FROM p_id) THEN
        PERFORM torc.fail_for_entity('file');
    END IF;
END
$$;

-- Raises TC422 with "already exists", for which clients search.
CREATE OR REPLACE FUNCTION torc.fail_for_entity(p_link text)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.fail(
        'TC422',
        format('RO-Crate entity already exists for this workflow/%s link', p_link),
        jsonb_build_object('field', CASE p_link WHEN 'file' THEN 'file_id' ELSE p_link END)
    );
END
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
