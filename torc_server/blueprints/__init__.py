"""One module per resource: parse, one repository call, respond. No SQL, no rules here."""

from torc_server.blueprints import (
    compute_nodes,
    event_stream,
    events,
    files,
    jobs,
    resource_requirements,
    results,
    system,
    user_data,
    workflow_actions,
    workflows,
)

BLUEPRINTS = (
    system.blueprint,
    workflows.blueprint,
    workflow_actions.blueprint,
    jobs.blueprint,
    files.blueprint,
    user_data.blueprint,
    resource_requirements.blueprint,
    compute_nodes.blueprint,
    results.blueprint,
    events.blueprint,
    event_stream.blueprint,
)
