"""Access groups: who may use which workflow."""

from torc_server.schemas import fields
from torc_server.schemas.common import Model, Page


class AccessGroupModel(Model):
    """A group of users."""

    name = fields.String(required=True)
    description = fields.String(allow_none=True)


class UserGroupMembershipModel(Model):
    """A user's place in a group. group_id must be there and is ignored: the path says which group."""

    user_name = fields.String(required=True)
    group_id = fields.Integer(required=True)
    role = fields.String(required=True)


class ListAccessGroups(Page):
    """A page of groups by name, or of memberships by user."""
