"""Access groups: their members, the workflows shared with them, and who has access to what."""

from flask import Blueprint

from torc_server import wire
from torc_server.observer import audited
from torc_server.repository import sql, value
from torc_server.schemas.access_groups import (
    AccessCheckResponse,
    AccessGroupModel,
    ListAccessGroups,
    ListAccessGroupsResponse,
    ListUserGroupMembershipsResponse,
    UserGroupMembershipModel,
    WorkflowAccessGroupModel,
)

ADMINS_ONLY = {403: "Access control is enforced and the caller is not a system administrator."}
GROUP_ADMINS_ONLY = {
    403: "Access control is enforced, and the caller administers neither the group nor the system, or the group is "
    "that of the system administrators."
}

blueprint = Blueprint("access_groups", __name__)


@blueprint.post("/access_groups")
@wire.body(AccessGroupModel)
@wire.answers(AccessGroupModel, ADMINS_ONLY | {409: "There is a group of that name."})
@audited
def create_access_group(body):
    """Create an access group.

    It starts without members and without workflows. Under access control only system administrators may do it.
    """
    return wire.json_text(
        value(sql.access_groups.create_access_group, name=body["name"], description=body.get("description"))
    )


@blueprint.get("/access_groups")
@wire.query(ListAccessGroups)
@wire.answers(ListAccessGroupsResponse, ADMINS_ONLY)
def list_access_groups(query):
    """List all access groups.

    One page, by name, byte by byte. Under access control only system administrators may do it.
    """
    return wire.access_page(sql.access_groups.list_access_groups, query)


@blueprint.get("/access_groups/<int64:id>")
@wire.answers(AccessGroupModel, ADMINS_ONLY)
def get_access_group(id):
    """Get an access group.

    Under access control only system administrators may do it, not even the group's members.
    """
    return wire.json_text(value(sql.access_groups.get_access_group, group_id=id))


@blueprint.delete("/access_groups/<int64:id>")
@wire.answers(
    AccessGroupModel,
    {
        403: "It is the group of the system administrators, which nobody can delete; or access control is enforced and "
        "the caller is not one of them."
    },
)
@audited
def delete_access_group(id):
    """Delete an access group.

    Its memberships go with it, and the workflows that were shared with it are so no longer; nothing else is deleted.
    The answer is the group that was deleted. Under access control only system administrators may do it.
    """
    return wire.json_text(value(sql.access_groups.delete_access_group, group_id=id))


@blueprint.post("/access_groups/<int64:id>/members")
@wire.body(UserGroupMembershipModel)
@wire.answers(
    UserGroupMembershipModel, GROUP_ADMINS_ONLY | {409: "The user is a member already, in this or another role."}
)
@audited
def add_user_to_group(id, body):
    """Add a user to an access group.

    The user may then use all workflows that are shared with the group, and with the role admin also choose its members.
    The user need not be known to the server. The group_id of the body must be there but does not count. Under access
    control only administrators of the group and of the system may do it. To change a role, remove the user first.
    """
    statement = sql.access_groups.add_user_to_group
    return wire.json_text(value(statement, group_id=id, user_name=body["user_name"], role=body.get("role")))


@blueprint.get("/access_groups/<int64:id>/members")
@wire.query(ListAccessGroups)
@wire.answers(ListUserGroupMembershipsResponse, ADMINS_ONLY)
def list_group_members(id, query):
    """List the members of an access group.

    One page of memberships, by user name. Under access control only system administrators may do it, not even the
    group's own administrators.
    """
    return wire.access_page(sql.access_groups.list_group_members, query, group_id=id)


@blueprint.delete("/access_groups/<int64:id>/members/<text:user_name>")
@wire.answers(UserGroupMembershipModel, GROUP_ADMINS_ONLY | {404: "There is no such group, or no such user in it."})
@audited
def remove_user_from_group(id, user_name):
    """Remove a user from an access group.

    The answer is the membership that was ended. Under access control only administrators of the group and of the system
    may do it; plain members cannot leave by themselves.
    """
    statement = sql.access_groups.remove_user_from_group
    return wire.json_text(value(statement, group_id=id, user_name=user_name))


@blueprint.get("/users/<text:user_name>/groups")
@wire.query(ListAccessGroups)
@wire.answers(
    ListAccessGroupsResponse,
    {403: "Access control is enforced, and the caller is neither that user nor a system administrator."},
)
def list_user_groups(user_name, query):
    """List the access groups of a user.

    One page, by name; empty for a user whom nobody knows. Under access control users may ask about themselves, and
    system administrators about anybody.
    """
    return wire.access_page(sql.access_groups.list_user_groups, query, user_name=user_name)


@blueprint.get("/workflows/<int64:id>/access_groups")
@wire.query(ListAccessGroups)
@wire.answers(ListAccessGroupsResponse)
def list_workflow_groups(id, query):
    """List the access groups that a workflow is shared with.

    One page, by name. Every user of the workflow may ask.
    """
    return wire.access_page(sql.access_groups.list_workflow_groups, query, workflow_id=id)


@blueprint.post("/workflows/<int64:id>/access_groups/<int64:group_id>")
@wire.answers(
    WorkflowAccessGroupModel,
    {
        403: "Access control is enforced, and the caller neither owns the workflow nor is a system administrator; or "
        "the group is that of the system administrators and the workflow somebody else's.",
        404: "There is no such workflow or group.",
        409: "The workflow is shared with the group already.",
    },
)
@audited
def add_workflow_to_group(id, group_id):
    """Share a workflow with an access group.

    The members of the group, in whatever role, may then use and change the workflow like its owner, but neither share
    it nor change its user. Under access control only the owner and system administrators may do it, not the group's
    administrators. No body is needed.
    """
    statement = sql.access_groups.add_workflow_to_group
    return wire.json_text(value(statement, workflow_id=id, group_id=group_id))


@blueprint.delete("/workflows/<int64:id>/access_groups/<int64:group_id>")
@wire.answers(
    WorkflowAccessGroupModel,
    {
        403: "Access control is enforced, and the caller neither owns the workflow nor administers the group or the "
        "system; or the group is that of the system administrators and the workflow somebody else's.",
        404: "There is no such workflow or group, or the workflow is not shared with the group.",
    },
)
@audited
def remove_workflow_from_group(id, group_id):
    """Stop sharing a workflow with an access group.

    The answer is the link that was. Under access control the owner of the workflow, the group's administrators and
    system administrators may do it.
    """
    statement = sql.access_groups.remove_workflow_from_group
    return wire.json_text(value(statement, workflow_id=id, group_id=group_id))


@blueprint.get("/access_check/<int64:workflow_id>/<text:user_name>")
@wire.answers(
    AccessCheckResponse,
    {
        403: "Access control is enforced, and the caller is not logged in, or is neither that user nor a system "
        "administrator."
    },
)
def check_workflow_access(workflow_id, user_name):
    """Check whether a user has access to a workflow.

    has_access is true for the owner and for the members of the groups that the workflow is shared with, also while
    access control is not enforced. It is false, not an error, for a workflow or user that does not exist, and for
    system administrators who are neither owner nor member, although they may use every workflow. Under access control
    users may ask about themselves, and system administrators about anybody.
    """
    statement = sql.access_groups.check_workflow_access
    return wire.json_text(value(statement, workflow_id=workflow_id, user_name=user_name))
