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
        "No job is handed out any more; claimed and running jobs become canceled, and workers stop.",
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
    "give-back": ("Give back", "The job becomes ready, whatever a worker is doing with it."),
    "disable": ("Disable", "The job is never run; what depends on it stays blocked."),
    "enable": ("Enable", "The job becomes uninitialized: Initialize makes it ready or blocked."),
}


@blueprint.context_processor
def labels():
    return {"WORKFLOW_ACTIONS": WORKFLOW_ACTIONS, "JOB_ACTIONS": JOB_ACTIONS}


# On workflows


@blueprint.get("/ui/workflows/act")
@lane("walks")
def preview_act():
    """What an action would change in the chosen workflows."""
    action, ids = _chosen(request.args)
    found = [(id, _preview(workflow_id=id, job_id=None, action=action)) for id in ids]
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
    action = values.get("action", "")
    if action not in WORKFLOW_ACTIONS:
        raise ApiError(422, f"action: must be one of {', '.join(WORKFLOW_ACTIONS)}", field="action")
    ids = sorted({parse_int64(text) or 0 for text in values.getlist("id")})
    if not 0 < len(ids) <= PAGE_SIZE or 0 in ids:
        raise ApiError(422, f"id: choose from 1 to {PAGE_SIZE} workflows", field="id")
    return action, ids


# On a job


@blueprint.get("/ui/jobs/<int64:id>/act")
@lane("walks")
def preview_act_on_job(id):
    """What an action on a job would change."""
    action = _job_action(request.args)
    found = [(id, _preview(workflow_id=None, job_id=id, action=action))]
    return page("act", action=action, texts=JOB_ACTIONS[action], found=found, what="job")


@blueprint.post("/ui/jobs/<int64:id>/act")
@lane("walks")
@audited
def act_on_job(id):
    """Do it."""
    action = _job_action(request.form)
    repository.long_value(sql.dashboard.act_on_job, job_id=id, action=action)
    return redirect(to(f"ui/jobs/{id}"), 303)


def _job_action(values):
    action = values.get("action", "")
    if action not in JOB_ACTIONS:
        raise ApiError(422, f"action: must be one of {', '.join(JOB_ACTIONS)}", field="action")
    return action


def _preview(**what):
    """What would change, or {"refused": why}."""
    try:
        return data(sql.dashboard.preview, repository.long_value, **what)
    except ApiError as error:
        if error.status in (409, 422):
            return {"refused": error.message}
        raise
