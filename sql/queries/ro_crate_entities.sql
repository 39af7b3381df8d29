-- name: create_ro_crate_entity(workflow_id, file_id, entity_id, entity_type, metadata, caller, enforced)
INSERT INTO torc.ro_crate_entity (workflow_id, file_id, entity_id, entity_type, metadata)
VALUES (
    torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller),
    torc.expect_file(:file_id, :workflow_id),
    :entity_id, :entity_type, :metadata
)
RETURNING id;

-- name: get_ro_crate_entity(id, caller, enforced)
SELECT torc.ro_crate_entity_json(entity)::text
FROM torc.ro_crate_entity AS entity
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL;

-- name: list_ro_crate_entities(workflow_id, offset, limit, caller, enforced)
-- RO-Crate entities of a workflow, one page; served by ro_crate_entity_workflow_id_idx.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT entity.*, entity AS item FROM torc.ro_crate_entity AS entity WHERE workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.ro_crate_entity_json(item)::text FROM matching ORDER BY {order_by} LIMIT :limit OFFSET :offset);

-- name: update_ro_crate_entity(id, workflow_id, file_id, entity_id, entity_type, metadata, caller, enforced)
UPDATE torc.ro_crate_entity AS entity
SET
    file_id = torc.expect_file(:file_id, workflow_id),
    entity_id = :entity_id,
    entity_type = :entity_type,
    metadata = :metadata
WHERE id = :id
    AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL
    AND torc.stays_in_workflow(workflow_id, :workflow_id)
RETURNING torc.ro_crate_entity_json(entity)::text;

-- name: delete_ro_crate_entity(id, caller, enforced)
DELETE FROM torc.ro_crate_entity
WHERE id = :id AND torc.authorize_workflow(workflow_id, (:caller, :enforced)::torc.caller) IS NOT NULL
RETURNING json_build_object('message', 'RO-Crate entity deleted successfully')::text;

-- name: delete_ro_crate_entities(workflow_id, caller, enforced)
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced)::torc.caller) AS workflow_id
),

deleted AS (
    DELETE FROM torc.ro_crate_entity AS entity
    USING allowed
    WHERE entity.workflow_id = allowed.workflow_id
    RETURNING 1
)

SELECT torc.audit_deletion(
    (SELECT count(*) FROM deleted), 'ro_crate_entity', workflow_id, (:caller, :enforced)::torc.caller
)
FROM allowed;
