"""User data of a workflow."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import WorkflowId
from torc_server.schemas.user_data import ListUserData, RelatedJobs, UserDataModel

blueprint = Blueprint("user_data", __name__)


@blueprint.post("/user_data")
@wire.query(RelatedJobs)
@wire.body(UserDataModel)
def create_user_data(query, body):
    """Store user data, as input or output of the jobs that are named; answer it as it was sent, with its id."""
    user_data_id = value(sql.user_data.create_user_data, body=json.dumps(body), **query)
    return wire.json_value(body | {"id": user_data_id})


@blueprint.get("/user_data")
@wire.query(ListUserData)
def list_user_data(query):
    """List the user data of a workflow."""
    return wire.page(sql.user_data.list_user_data, ListUserData, query)


@blueprint.delete("/user_data")
@wire.query(WorkflowId)
def delete_all_user_data(query):
    """Delete all user data of a workflow; answer how many."""
    count = long_value(sql.user_data.delete_all_user_data, **query)
    message = f"Deleted {count} user data records for workflow {query['workflow_id']}"
    return wire.json_value({"message": message, "deleted_count": count, "count": count})


@blueprint.get("/user_data/<int64:id>")
def get_user_data(id):
    """Return one record of user data."""
    return wire.json_text(row_json(sql.user_data.get_user_data, "user_data", id))


@blueprint.put("/user_data/<int64:id>")
@wire.body(UserDataModel)
def update_user_data(id, body):
    """Change user data; absent data and is_ephemeral keep their value."""
    return wire.json_text(row_json(sql.user_data.update_user_data, "user_data", id, body=json.dumps(body)))


@blueprint.delete("/user_data/<int64:id>")
def delete_user_data(id):
    """Delete user data and return it."""
    return wire.json_text(row_json(sql.user_data.delete_user_data, "user_data", id))
