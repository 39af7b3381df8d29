-- name: create_user_data(body, consumer_job_id, producer_job_id, caller, enforced, dialect)
SELECT torc.create_user_data(
    :body::jsonb, :consumer_job_id, :producer_job_id, (:caller, :enforced, :dialect)::torc.caller
)::text;

-- name: create_user_data_list(workflow_id, piece, caller, enforced, dialect)
-- One array of user data, a piece of a bulk; their answers with commas between them.
SELECT string_agg(user_data::text, ',')
FROM torc.create_user_data_list(:workflow_id, :piece::json, (:caller, :enforced, :dialect)::torc.caller) AS user_data;

-- name: get_user_data(id, caller, enforced, dialect)
SELECT torc.user_data_json(user_data)::text
FROM torc.user_data AS user_data
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_user_data(workflow_id, consumer_job_id, producer_job_id, name, is_ephemeral, offset, limit, caller, enforced, dialect)
-- User data of a workflow, one page; served by user_data_workflow_id_idx. % and _ in a name mean themselves; data sorts
-- by its JSON text.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT id, workflow_id, name, is_ephemeral, data::text COLLATE "C" AS data, user_data AS item
    FROM torc.user_data AS user_data
    WHERE workflow_id = :workflow_id
        AND (
            :name::text IS NULL
            OR name ILIKE '%%' || regexp_replace(:name, '([%%_\\])', '\\\1', 'g') || '%%'
        )
        AND (:is_ephemeral::boolean IS NULL OR is_ephemeral = :is_ephemeral)
        AND (
            :consumer_job_id::bigint IS NULL
            OR EXISTS (
                SELECT 1
                FROM torc.job_input_user_data
                WHERE job_id = :consumer_job_id AND user_data_id = user_data.id
                OFFSET 0
            )
        )
        AND (
            :producer_job_id::bigint IS NULL
            OR EXISTS (
                SELECT 1
                FROM torc.job_output_user_data
                WHERE job_id = :producer_job_id AND user_data_id = user_data.id
                OFFSET 0
            )
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.user_data_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_user_data(id, body, caller, enforced, dialect)
-- Keeps is_ephemeral and data where the body has none: data cannot be cleared.
UPDATE torc.user_data AS user_data
SET
    name = new.name,
    is_ephemeral = coalesce(new.is_ephemeral, user_data.is_ephemeral),
    data = coalesce(new.data, user_data.data)
FROM jsonb_populate_record(NULL::torc.user_data, :body::jsonb) AS new
WHERE user_data.id = :id
    AND torc.authorize_workflow(user_data.workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
    AND torc.expect_unchanged('workflow_id', user_data.workflow_id, new.workflow_id)
RETURNING torc.user_data_json(user_data)::text;

-- name: delete_user_data(id, caller, enforced, dialect)
DELETE FROM torc.user_data AS user_data
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.user_data_json(user_data)::text;

-- name: delete_all_user_data(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.user_data USING allowed WHERE user_data.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'user_data', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
