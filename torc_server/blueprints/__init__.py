"""One module per resource: parse, one repository call, respond. No SQL, no rules here."""

from torc_server.blueprints import files, jobs, system, workflows

BLUEPRINTS = (
    system.blueprint,
    workflows.blueprint,
    jobs.blueprint,
    files.blueprint,
)
