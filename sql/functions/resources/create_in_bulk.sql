-- Files from a JSON array, all of one workflow, all or none. Returns the rows as they are read, in the order of the
-- array and with ascending ids. The array holds valid models: the schemas see to that. Locks nothing. Raises TC404,
-- TC403, TC422 (a row of another workflow).
CREATE OR REPLACE FUNCTION torc.create_files(p_workflow_id bigint, p_files json, p_caller torc.caller DEFAULT NULL)
RETURNS SETOF json
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    PERFORM torc.refuse_other_workflows('files', p_workflow_id, p_files);
    RETURN QUERY
    INSERT INTO torc.file AS file (workflow_id, name, path, st_mtime)
    SELECT workflow_id, name, path, st_mtime
    FROM json_populate_recordset(NULL::torc.file, p_files) WITH ORDINALITY
    ORDER BY ordinality
    RETURNING torc.file_json(file);
END
$$;

-- User data from a JSON array, as create_files().
CREATE OR REPLACE FUNCTION torc.create_user_data_list(
    p_workflow_id bigint,
    p_user_data json,
    p_caller torc.caller DEFAULT NULL
)
RETURNS SETOF jsonb
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    PERFORM torc.refuse_other_workflows('user_data entries', p_workflow_id, p_user_data);
    RETURN QUERY
    INSERT INTO torc.user_data AS user_data (workflow_id, name, is_ephemeral, data)
    SELECT workflow_id, name, coalesce(is_ephemeral, false), data
    FROM json_populate_recordset(NULL::torc.user_data, p_user_data) WITH ORDINALITY
    ORDER BY ordinality
    RETURNING torc.user_data_json(user_data);
END
$$;

-- All rows of a bulk must be of the workflow of the first one. p_what: what the message calls them. Raises TC422.
CREATE OR REPLACE FUNCTION torc.refuse_other_workflows(p_what text, p_workflow_id bigint, p_rows json)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_other bigint := (
        SELECT workflow_id
        FROM json_to_recordset(p_rows) AS sent (workflow_id bigint)
        WHERE workflow_id <> p_workflow_id
        LIMIT 1
    );
BEGIN
    IF v_other IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422',
            format(
                'All %s in a batch must have the same workflow_id. Found workflow_ids: %s and %s',
                p_what, p_workflow_id, v_other
            ),
            jsonb_build_object('field', 'workflow_id', 'value', v_other)
        );
    END IF;
END
$$;
