"""Access groups: who may use which workflow."""

from torc_server.schemas import fields
from torc_server.schemas.common import AccessPageAnswer, Answer, Model, Page


class AccessGroupModel(Model):
    """A group of users."""

    id = fields.RowId(example=2)
    name = fields.String("Name, of which there is only one.", example="climate-team", required=True)
    description = fields.String("What the group is for.", example="Everybody in the climate project.", allow_none=True)
    created_at = fields.String(
        "When it was created, in UTC: YYYY-MM-DD HH:MM:SS.",
        example="2026-01-31 12:00:00",
        dump_only=True,
        allow_none=True,
    )


class UserGroupMembershipModel(Model):
    """A user's place in a group."""

    id = fields.RowId(example=5)
    user_name = fields.String("Name of the user, who need not be known to the server.", example="alice", required=True)
    group_id = fields.Integer(
        "Id of the group. A request must hold it, but the group is the one in the path.", example=2, required=True
    )
    role = fields.String(
        "admin administers the group; any other text, by convention member, is a plain member.",
        example="member",
        required=True,
    )
    created_at = fields.String(
        "When the user became a member, in UTC: YYYY-MM-DD HH:MM:SS.",
        example="2026-01-31 12:00:00",
        dump_only=True,
        allow_none=True,
    )


class ListAccessGroups(Page):
    """A page of groups by name, or of memberships by user."""


class ListAccessGroupsResponse(AccessPageAnswer):
    """A page of access groups."""

    items = fields.Objects(AccessGroupModel, "The groups of this page.", required=True)


class ListUserGroupMembershipsResponse(AccessPageAnswer):
    """A page of the memberships of a group."""

    items = fields.Objects(UserGroupMembershipModel, "The memberships of this page.", required=True)


class WorkflowAccessGroupModel(Answer):
    """That a workflow is shared with a group."""

    workflow_id = fields.Integer("Id of the workflow.", example=7, required=True)
    group_id = fields.Integer("Id of the group.", example=2, required=True)
    created_at = fields.String(
        "When it was shared, in UTC: YYYY-MM-DD HH:MM:SS.", example="2026-01-31 12:00:00", allow_none=True
    )


class AccessCheckResponse(Answer):
    """Whether a user may use a workflow."""

    has_access = fields.Boolean(
        "Whether the user owns the workflow or shares it in a group.", example=True, required=True
    )
    user_name = fields.String("The user that was asked about.", example="alice", required=True)
    workflow_id = fields.Integer("The workflow that was asked about.", example=7, required=True)
    reason = fields.String("Not given by this server.", example="owner", allow_none=True)
