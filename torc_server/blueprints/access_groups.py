"""Access groups: their members, the workflows shared with them, and who has access to what."""

from flask import Blueprint

from torc_server import wire
from torc_server.repository import sql, value
from torc_server.schemas.access_groups import AccessGroupModel, ListAccessGroups, UserGroupMembershipModel

blueprint = Blueprint("access_groups", __name__)


@blueprint.post("/access_groups")
@wire.body(AccessGroupModel)
def create_access_group(body):
    """Create a group without members."""
    return wire.json_text(value(sql.access_groups.create_access_group, **AccessGroupModel.row(body)))


@blueprint.get("/access_groups")
@wire.query(ListAccessGroups)
def list_access_groups(query):
    """List all groups by name."""
    return wire.access_page(sql.access_groups.list_access_groups, query)


@blueprint.get("/access_groups/<int64:id>")
def get_access_group(id):
    """Return one group."""
    return wire.json_text(value(sql.access_groups.get_access_group, group_id=id))


@blueprint.delete("/access_groups/<int64:id>")
def delete_access_group(id):
    """Delete a group with its memberships and links, and return it."""
    return wire.json_text(value(sql.access_groups.delete_access_group, group_id=id))


@blueprint.post("/access_groups/<int64:id>/members")
@wire.body(UserGroupMembershipModel)
def add_user_to_group(id, body):
    """Make a user a member of a group; the role admin makes an administrator of the group."""
    statement = sql.access_groups.add_user_to_group
    return wire.json_text(value(statement, **UserGroupMembershipModel.row(body) | {"group_id": id}))


@blueprint.get("/access_groups/<int64:id>/members")
@wire.query(ListAccessGroups)
def list_group_members(id, query):
    """List the memberships of a group by user name."""
    return wire.access_page(sql.access_groups.list_group_members, query, group_id=id)


@blueprint.delete("/access_groups/<int64:id>/members/<text:user_name>")
def remove_user_from_group(id, user_name):
    """End a membership and return it."""
    statement = sql.access_groups.remove_user_from_group
    return wire.json_text(value(statement, group_id=id, user_name=user_name))


@blueprint.get("/users/<text:user_name>/groups")
@wire.query(ListAccessGroups)
def list_user_groups(user_name, query):
    """List the groups of a user by name."""
    return wire.access_page(sql.access_groups.list_user_groups, query, user_name=user_name)


@blueprint.get("/workflows/<int64:id>/access_groups")
@wire.query(ListAccessGroups)
def list_workflow_groups(id, query):
    """List the groups that a workflow is shared with, by name."""
    return wire.access_page(sql.access_groups.list_workflow_groups, query, workflow_id=id)


@blueprint.post("/workflows/<int64:id>/access_groups/<int64:group_id>")
def add_workflow_to_group(id, group_id):
    """Share a workflow with a group: its members may use it like its owner."""
    statement = sql.access_groups.add_workflow_to_group
    return wire.json_text(value(statement, workflow_id=id, group_id=group_id))


@blueprint.delete("/workflows/<int64:id>/access_groups/<int64:group_id>")
def remove_workflow_from_group(id, group_id):
    """Take a workflow from a group and return the link that was."""
    statement = sql.access_groups.remove_workflow_from_group
    return wire.json_text(value(statement, workflow_id=id, group_id=group_id))


@blueprint.get("/access_check/<int64:workflow_id>/<text:user_name>")
def check_workflow_access(workflow_id, user_name):
    """Say whether a user owns a workflow or is in a group that it is shared with."""
    statement = sql.access_groups.check_workflow_access
    return wire.json_text(value(statement, workflow_id=workflow_id, user_name=user_name))
