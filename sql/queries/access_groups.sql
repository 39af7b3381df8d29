-- name: create_access_group(name, description, caller, enforced, dialect)
SELECT torc.create_access_group(:name, :description, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: get_access_group(group_id, caller, enforced, dialect)
SELECT torc.get_access_group(:group_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_access_groups(offset, limit, caller, enforced, dialect)
WITH allowed AS (
    SELECT torc.authorize_admin((:caller, :enforced, :dialect)::torc.caller)
)

SELECT json_build_object('total_count', (SELECT count(*) FROM torc.access_group))::text FROM allowed
UNION ALL
(
    SELECT torc.access_group_json(access_group)::text
    FROM torc.access_group AS access_group
    ORDER BY name
    LIMIT :limit OFFSET :offset
);

-- name: delete_access_group(group_id, caller, enforced, dialect)
SELECT torc.delete_access_group(:group_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: add_user_to_group(group_id, user_name, role, caller, enforced, dialect)
SELECT torc.add_user_to_group(:group_id, :user_name, :role, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_group_members(group_id, offset, limit, caller, enforced, dialect)
-- Members of a group, one page; served by user_group_membership_group_id_idx. For system administrators only, as in the
-- reference: not even the group's own administrators may read it.
WITH allowed AS MATERIALIZED (
    SELECT torc.authorize_admin((:caller, :enforced, :dialect)::torc.caller)
),

existing AS MATERIALIZED (
    SELECT torc.expect_group(:group_id) FROM allowed
)

SELECT json_build_object(
    'total_count', (SELECT count(*) FROM torc.user_group_membership WHERE group_id = :group_id)
)::text
FROM existing
UNION ALL
(
    SELECT torc.user_group_membership_json(member)::text
    FROM torc.user_group_membership AS member
    WHERE group_id = :group_id
    ORDER BY user_name
    LIMIT :limit OFFSET :offset
);

-- name: remove_user_from_group(group_id, user_name, caller, enforced, dialect)
SELECT torc.remove_user_from_group(:group_id, :user_name, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: list_user_groups(user_name, offset, limit, caller, enforced, dialect)
-- Groups of a user, one page; served by user_group_membership_user_name_group_id_key.
WITH allowed AS (
    SELECT torc.authorize_self(
        :user_name, (:caller, :enforced, :dialect)::torc.caller, 'Only admins can list the groups of other users'
    )
),

matching AS NOT MATERIALIZED (
    SELECT access_group.name, access_group AS item
    FROM torc.user_group_membership AS member
    INNER JOIN torc.access_group AS access_group ON access_group.id = member.group_id
    WHERE member.user_name = :user_name
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.access_group_json(item)::text FROM matching ORDER BY name LIMIT :limit OFFSET :offset);

-- name: list_workflow_groups(workflow_id, offset, limit, caller, enforced, dialect)
-- Groups that a workflow is shared with, one page; served by workflow_access_group_pkey.
WITH allowed AS (
    SELECT torc.authorize_workflow(:workflow_id, (:caller, :enforced, :dialect)::torc.caller) AS workflow_id
),

matching AS NOT MATERIALIZED (
    SELECT access_group.name, access_group AS item
    FROM torc.workflow_access_group AS shared
    INNER JOIN torc.access_group AS access_group ON access_group.id = shared.group_id
    WHERE shared.workflow_id = :workflow_id
)

SELECT json_build_object('total_count', (SELECT count(*) FROM matching))::text FROM allowed
UNION ALL
(SELECT torc.access_group_json(item)::text FROM matching ORDER BY name LIMIT :limit OFFSET :offset);

-- name: add_workflow_to_group(workflow_id, group_id, caller, enforced, dialect)
SELECT torc.add_workflow_to_group(:workflow_id, :group_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: remove_workflow_from_group(workflow_id, group_id, caller, enforced, dialect)
SELECT torc.remove_workflow_from_group(:workflow_id, :group_id, (:caller, :enforced, :dialect)::torc.caller)::text;

-- name: check_workflow_access(workflow_id, user_name, caller, enforced, dialect)
SELECT torc.check_workflow_access(:workflow_id, :user_name, (:caller, :enforced, :dialect)::torc.caller)::text;
