-- name: create_event(workflow_id, data, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
)

INSERT INTO torc.event AS event (workflow_id, "timestamp", data)
SELECT workflow_id, torc.now_ms(), :data::jsonb FROM allowed
RETURNING torc.event_json(event)::text;

-- name: get_event(id, caller, enforced, dialect)
SELECT torc.event_json(event)::text
FROM torc.event AS event
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_events(workflow_id, category, after_timestamp, offset, limit, caller, enforced, dialect)
-- Events of a workflow, one page; served by event_workflow_id_idx, with a time by event_workflow_id_timestamp_idx.
-- The category is under the first of four keys that has a value. data sorts by its JSON text.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT id, workflow_id, "timestamp", data::text COLLATE "C" AS data, event AS item
    FROM torc.event AS event
    WHERE workflow_id = :workflow_id
        AND (:after_timestamp::bigint IS NULL OR "timestamp" > :after_timestamp)
        AND (
            :category::text IS NULL
            OR coalesce(data ->> 'category', data ->> 'event_type', data ->> 'type', data ->> 'action') = :category
        )
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.event_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_event(id, data, caller, enforced, dialect)
UPDATE torc.event AS event
SET data = :data::jsonb
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.event_json(event)::text;

-- name: delete_event(id, caller, enforced, dialect)
DELETE FROM torc.event AS event
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING torc.event_json(event)::text;

-- name: delete_events(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.event USING allowed WHERE event.workflow_id = allowed.workflow_id RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'event', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
