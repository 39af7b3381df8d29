"""User data of a workflow: JSON values that its jobs read and write."""

import json

from flask import Blueprint

from torc_server import wire
from torc_server.bulk import Rows
from torc_server.direct import direct
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import long_value, row_json, sql, value
from torc_server.schemas.common import DeleteCountResponse, WorkflowId
from torc_server.schemas.exact import ExactTypes
from torc_server.schemas.user_data import (
    CreateUserDataListResponse,
    ListUserData,
    ListUserDataResponse,
    RelatedJobs,
    UserDataListModel,
    UserDataModel,
)

blueprint = Blueprint("user_data", __name__)
exact_user_data = ExactTypes(UserDataModel())
TAKEN = "The workflow has a record of that name, and it begins with __torc_lineage__, as those that spawn_jobs makes."


@blueprint.post("/user_data")
@wire.query(RelatedJobs)
@wire.body(UserDataModel)
@wire.answers(UserDataModel, {409: TAKEN, 422: "A value breaks a rule, or a job that is named is not in the workflow."})
def create_user_data(query, body):
    """Create user data.

    It becomes an output of the job producer_job_id and an input of the job consumer_job_id, where those are given; that
    makes no dependency yet: initialize_jobs does. If one of the jobs is not in the workflow, nothing is stored. The
    answer is what was sent, with the new id.
    """
    return wire.json_text(value(sql.user_data.create_user_data, body=json.dumps(body), **query))


@blueprint.post("/bulk_user_data")
@wire.takes(UserDataListModel())
@wire.answers(
    CreateUserDataListResponse,
    {409: TAKEN, 422: "A value breaks a rule, or two records of the request have the same name."},
)
@lane("walks")
def create_user_data_list():
    """Create up to 100000 records of user data of one workflow.

    All or none are created, in the order of the request and with ascending ids. No two records of a request may have
    the same name; records that are there already may. Jobs are related to them by the lists of the jobs.
    """
    with Rows("user_data", exact_user_data, has_unique_names=True) as records:
        records.read()
        records.refuse_empty()
        return wire.spooled_pieces(
            sql.user_data.create_user_data_list, records, "user_data", workflow_id=records.first["workflow_id"]
        )


@blueprint.get("/user_data")
@wire.query(ListUserData)
@wire.answers(ListUserDataResponse)
def list_user_data(query):
    """List the user data of a workflow.

    One page, by id unless sort_by says otherwise; sorting by data compares its JSON text. Each filter that is given
    narrows the list.
    """
    return wire.page(sql.user_data.list_user_data, ListUserData, query)


@blueprint.delete("/user_data")
@wire.query(WorkflowId)
@wire.answers(DeleteCountResponse)
@lane("walks")
@audited
def delete_all_user_data(query):
    """Delete all user data of a workflow.

    Jobs lose their links to it but keep the dependencies that initialize_jobs has derived from it. The answer says how
    many records were deleted, in words too.
    """
    count = long_value(sql.user_data.delete_all_user_data, **query)
    message = f"Deleted {count} user data records for workflow {query['workflow_id']}"
    return wire.json_value({"message": message, "deleted_count": count, "count": count})


@blueprint.get("/user_data/<int64:id>")
@direct
@wire.answers(UserDataModel)
def get_user_data(id):
    """Get one record of user data.

    A record without data has no key data in the answer.
    """
    return row_json(sql.user_data.get_user_data, "user_data", id)


@blueprint.put("/user_data/<int64:id>")
@wire.body(UserDataModel)
@wire.answers(UserDataModel, {409: TAKEN, 422: "A value breaks a rule, or workflow_id is not that of the record."})
def update_user_data(id, body):
    """Change user data.

    The name is stored; is_ephemeral and data keep their value if they are absent or null, so data cannot be cleared.
    New data replaces the old as a whole. workflow_id cannot be changed. process_changed_job_inputs finds the jobs that
    read data which has changed since initialize_jobs.
    """
    return wire.json_text(row_json(sql.user_data.update_user_data, "user_data", id, body=json.dumps(body)))


@blueprint.delete("/user_data/<int64:id>")
@wire.answers(UserDataModel)
def delete_user_data(id):
    """Delete one record of user data.

    Jobs lose their links to it but keep the dependencies that initialize_jobs has derived from it. The answer is the
    record that was deleted.
    """
    return wire.json_text(row_json(sql.user_data.delete_user_data, "user_data", id))
