"""Buttons: each leads to a page that says what would change, and that page's form does it."""

from flask import redirect, request

from torc_server import repository
from torc_server.dashboard.frame import blueprint, data, page, to
from torc_server.dashboard.workflows import PAGE_SIZE
from torc_server.errors import ApiError
from torc_server.lanes import lane
from torc_server.observer import audited
from torc_server.repository import sql
from torc_server.schemas.fields import parse_int64

# name: (what the button says, what the page says that it does). What it may do is decided in SQL.
WORKFLOW_ACTIONS = {
    "initialize": (
        "Initialize",
        "Derives the dependencies, then makes every job that is not complete ready or blocked. Jobs on active compute "
        "nodes go on.",
    ),
    "cancel": (
        "Cancel",
        "Claims get no job any more; claimed and running jobs become canceled, and workers stop.",
    ),
    "retry": ("Retry failed", "Failed and terminated jobs become ready for their next attempt."),
    "reset": (
        "Start over",
        "Begins the next run: every job becomes uninitialized. Results of earlier runs stay. Initialize makes the jobs "
        "ready.",
    ),
    "archive": ("Archive", "The workflow is hidden from the list. Nothing else changes."),
    "unarchive": ("Take out of the archive", "The workflow is listed again. Nothing else changes."),
    "delete": ("Delete", "Everything below goes, in whatever state it is. There is no way back."),
}
JOB_ACTIONS = {
    "retry": ("Retry", "The job becomes ready for its next attempt."),
    "give-back": (
        "Give back",
        "The job becomes ready for another worker, for its next attempt if it runs. A worker that still runs it goes "
        "on; what it reports then changes nothing.",
    ),
    "disable": ("Disable", "The job is never run; what depends on it stays blocked."),
    "enable": ("Enable", "The job becomes uninitialized: Initialize makes it ready or blocked."),
}
NODE_ACTIONS = {
    "give-back": (
        "Give its jobs back",
        "For a node whose worker is gone. Its running jobs become ready for their next attempt, the jobs that it has "
        "claimed ready, and the node inactive. A worker that still runs them goes on; what it reports then changes "
        "nothing.",
    ),
    "give-back-claims": (
        "Give its jobs and unnamed claims back",
        "The same, and the jobs of the workflow whose claims named no node become ready, too. Refused while other "
        "nodes of the workflow are active: these claims may be theirs.",
    ),
}


@blueprint.context_processor
def labels():
    return {"WORKFLOW_ACTIONS": WORKFLOW_ACTIONS, "JOB_ACTIONS": JOB_ACTIONS, "NODE_ACTIONS": NODE_ACTIONS}


# On workflows


@blueprint.get("/ui/workflows/act")
@lane("walks")
def preview_act():
    """What an action would change in the chosen workflows."""
    action, ids = _chosen(request.args)
    found = [(id, _preview(action, workflow_id=id)) for id in ids]
    return page("act", action=action, texts=WORKFLOW_ACTIONS[action], found=found, what="workflow")


@blueprint.post("/ui/workflows/act")
@lane("walks")
@audited
def act():
    """Do it, one workflow after the other; show what was refused."""
    action, ids = _chosen(request.form)
    refused = {}
    for id in ids:
        try:
            repository.long_value(sql.dashboard.act, workflow_id=id, action=action)
        except ApiError as error:
            if error.status >= 500 or len(ids) == 1:
                raise
            refused[id] = error.message
    if refused:
        return page("acted", 409, action=action, texts=WORKFLOW_ACTIONS[action], ids=ids, refused=refused)
    return redirect(to(f"ui/workflows/{ids[0]}" if len(ids) == 1 and action != "delete" else ""), 303)


def _chosen(values):
    """The action and the workflows of a form. Raises ApiError 422."""
    action = _action(values, WORKFLOW_ACTIONS)
    ids = sorted({parse_int64(text) or 0 for text in values.getlist("id")})
    if not 0 < len(ids) <= PAGE_SIZE or 0 in ids:
        raise ApiError(422, f"id: choose from 1 to {PAGE_SIZE} workflows", field="id")
    return action, ids


# On a job


@blueprint.get("/ui/jobs/<int64:id>/act")
@lane("walks")
def preview_act_on_job(id):
    """What an action on a job would change."""
    action = _action(request.args, JOB_ACTIONS)
    found = [(id, _preview(action, job_id=id))]
    return page("act", action=action, texts=JOB_ACTIONS[action], found=found, what="job")


@blueprint.post("/ui/jobs/<int64:id>/act")
@lane("walks")
@audited
def act_on_job(id):
    """Do it."""
    action = _action(request.form, JOB_ACTIONS)
    repository.long_value(sql.dashboard.act_on_job, job_id=id, action=action)
    return redirect(to(f"ui/jobs/{id}"), 303)


# On a compute node


@blueprint.get("/ui/nodes/<int64:id>/act")
@lane("walks")
def preview_act_on_node(id):
    """What an action on a compute node would change."""
    action = _action(request.args, NODE_ACTIONS)
    found = [(id, _preview(action, node_id=id))]
    return page("act", action=action, texts=NODE_ACTIONS[action], found=found, what="node")


@blueprint.post("/ui/nodes/<int64:id>/act")
@lane("walks")
@audited
def act_on_node(id):
    """Do it."""
    action = _action(request.form, NODE_ACTIONS)
    repository.long_value(sql.dashboard.act_on_node, node_id=id, action=action)
    return redirect(to("ui/nodes"), 303)


def _action(values, known):
    """The action of a form. Raises ApiError 422."""
    action = values.get("action", "")
    if action not in known:
        raise ApiError(422, f"action: must be one of {', '.join(known)}", field="action")
    return action


def _preview(action, workflow_id=None, job_id=None, node_id=None):
    """What would change, or {"refused": why}."""
    ids = {"workflow_id": workflow_id, "job_id": job_id, "node_id": node_id}
    try:
        return data(sql.dashboard.preview, repository.long_value, action=action, **ids)
    except ApiError as error:
        if error.status in (409, 422):
            return {"refused": error.message}
        raise
