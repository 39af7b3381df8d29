"""One module per resource: parse, one repository call, respond. No SQL, no rules here."""

from torc_server.blueprints import files, jobs, system, workflow_actions, workflows

BLUEPRINTS = (
    system.blueprint,
    workflows.blueprint,
    workflow_actions.blueprint,
    jobs.blueprint,
    files.blueprint,
)
