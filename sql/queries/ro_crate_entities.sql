-- name: create_ro_crate_entity(body, caller, enforced, dialect)
SELECT torc.create_ro_crate_entity(:body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_ro_crate_entity(id, caller, enforced, dialect)
SELECT torc.ro_crate_entity_json(entity, (:caller, :enforced, :dialect)::torc.caller)::text
FROM torc.ro_crate_entity AS entity
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL;

-- name: list_ro_crate_entities(workflow_id, file_id, entity_id, offset, limit, caller, enforced, dialect)
-- RO-Crate entities of a workflow, one page; served by ro_crate_entity_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT entity.*, entity AS item
    FROM torc.ro_crate_entity AS entity
    WHERE workflow_id = :workflow_id
        AND (:file_id::bigint IS NULL OR file_id = :file_id)
        AND (:entity_id::text IS NULL OR entity_id = :entity_id)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(
    SELECT torc.ro_crate_entity_json(item, (:caller, :enforced, :dialect)::torc.caller)::text
    FROM matching
    ORDER BY {order_by}
    LIMIT :limit OFFSET :offset
);

-- name: update_ro_crate_entity(id, body, caller, enforced, dialect)
SELECT torc.update_ro_crate_entity(:id, :body::jsonb, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: delete_ro_crate_entity(id, caller, enforced, dialect)
DELETE FROM torc.ro_crate_entity
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced, :dialect)::torc.caller) IS NOT NULL
RETURNING json_build_object('message', 'RO-Crate entity deleted successfully')::text;

-- name: delete_ro_crate_entities(workflow_id, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.ro_crate_entity AS entity
    USING allowed
    WHERE entity.workflow_id = allowed.workflow_id
    RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'ro_crate_entity', workflow_id, (:caller, :enforced, :dialect)::torc.caller
)
FROM allowed;
