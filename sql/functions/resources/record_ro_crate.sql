-- What initialize_jobs adds to the workflow's RO-Crate: with enable_ro_crate one File entity for every file that has a
-- modification time (it exists, so it is an input), and always one SoftwareApplication entity for this server and run.
-- Repeating it changes nothing but the metadata of files. Entities whose @id is taken stay as the client made them.
-- What it adds has the form that the caller's generation of clients expects: an object with two @types, or text with
-- one. Call it under the workflow's lock. Locks: the files against deletion, the entities of files.
CREATE OR REPLACE FUNCTION torc.record_ro_crate(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_enabled boolean;
    v_run_id bigint;
    v_as_object boolean := torc.wants_object(p_caller, false);
BEGIN
    SELECT workflow.enable_ro_crate, status.run_id
    INTO v_enabled, v_run_id
    FROM torc.workflow AS workflow
    INNER JOIN torc.workflow_status AS status ON status.workflow_id = workflow.id
    WHERE workflow.id = p_workflow_id;
    IF v_enabled THEN
        PERFORM torc.record_ro_crate_files(p_workflow_id, v_run_id, v_as_object);
    END IF;
    IF v_run_id IS NOT NULL THEN
        PERFORM torc.record_ro_crate_software(p_workflow_id, v_run_id, v_as_object);
    END IF;
END
$$;

-- Adds entities of files. A file that has entities keeps them; the new metadata are merged into those of the oldest
-- one.
CREATE OR REPLACE FUNCTION torc.record_ro_crate_files(p_workflow_id bigint, p_run_id bigint, p_as_object boolean)
RETURNS void
LANGUAGE sql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
    WITH input AS (
        SELECT file AS item
        FROM torc.file AS file
        WHERE workflow_id = p_workflow_id AND st_mtime IS NOT NULL
        FOR KEY SHARE
    ),

    described AS (
        SELECT
            (input.item).id,
            (input.item).path,
            torc.ro_crate_file_metadata(input.item, p_run_id, p_as_object) AS metadata,
            -- One scan of ro_crate_entity_file_id_idx for each file, whatever row counts the planner expects: for
            -- min(id) it would scan the primary key for each file, and a join of sets would become a nested loop of
            -- sequential scans where few rows are expected.
            (
                SELECT (array_agg(id ORDER BY id))[1] FROM torc.ro_crate_entity WHERE file_id = (input.item).id
            ) AS entity_id
        FROM input
    ),

    updated AS (
        UPDATE torc.ro_crate_entity AS entity
        SET metadata = (coalesce(torc.object_in(entity.metadata), '{}') || described.metadata)::text
        FROM described
        WHERE entity.id = described.entity_id
            AND entity.id = ANY (ARRAY(SELECT entity_id FROM described))
            AND NOT coalesce(torc.object_in(entity.metadata), '{}') @> described.metadata
    )

    INSERT INTO torc.ro_crate_entity (workflow_id, file_id, entity_id, entity_type, metadata, written_as_object)
    SELECT p_workflow_id, id, path, 'File', metadata::text, p_as_object
    FROM described
    WHERE entity_id IS NULL
        -- what the key can hold; a longer path is left out rather than in the way of a run
        AND octet_length(path) <= 2000
    ORDER BY id
    ON CONFLICT (workflow_id, entity_id) DO NOTHING
$$;

-- The JSON-LD of a file. A time outside the calendar's years 1 to 9999 is left out.
CREATE OR REPLACE FUNCTION torc.ro_crate_file_metadata(f torc.file, p_run_id bigint, p_as_object boolean)
RETURNS jsonb
LANGUAGE sql STABLE
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        '@id', f.path,
        '@type', CASE WHEN p_as_object THEN '["File", "prov:Entity"]' ELSE '"File"' END::jsonb,
        'name', coalesce(nullif(regexp_replace(rtrim(f.path, '/'), '^.*/', ''), ''), f.path),
        'encodingFormat', torc.media_type(f.path),
        'torc:run_id', p_run_id,
        'dateModified', CASE
            WHEN f.st_mtime BETWEEN -62135596800 AND 253402300799
                THEN to_char(
                    to_timestamp(trunc(f.st_mtime)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"'
                )
        END
    ))
$$;

-- Adds the entity of the server. The connections of the server carry its version and program; in psql they are unknown.
CREATE OR REPLACE FUNCTION torc.record_ro_crate_software(p_workflow_id bigint, p_run_id bigint, p_as_object boolean)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO torc.ro_crate_entity (workflow_id, entity_id, entity_type, metadata, written_as_object)
    SELECT
        p_workflow_id,
        software.entity_id,
        'SoftwareApplication',
        jsonb_build_object(
            '@id', software.entity_id,
            '@type', CASE
                WHEN p_as_object THEN '["SoftwareApplication", "prov:SoftwareAgent"]' ELSE '"SoftwareApplication"'
            END::jsonb,
            'name', 'torc-server',
            'version', coalesce(nullif(current_setting('torc.version', true), ''), 'unknown'),
            'url', coalesce(nullif(current_setting('torc.program', true), ''), 'unknown'),
            'torc:run_id', p_run_id,
            'torc:git_hash', coalesce(nullif(current_setting('torc.git_hash', true), ''), 'unknown')
        )::text,
        p_as_object
    FROM (SELECT '#software-torc-server-run-id-' || p_run_id AS entity_id) AS software
    ON CONFLICT (workflow_id, entity_id) DO NOTHING
$$;
