"""One module per resource: parse, one repository call, respond. No SQL, no rules here."""

from torc_server.blueprints import (
    compute_nodes,
    events,
    failure_handlers,
    files,
    jobs,
    local_schedulers,
    remote_workers,
    resource_requirements,
    results,
    ro_crate_entities,
    scheduled_compute_nodes,
    slurm_schedulers,
    slurm_stats,
    system,
    user_data,
    workflows,
)

BLUEPRINTS = (
    system.blueprint,
    workflows.blueprint,
    jobs.blueprint,
    files.blueprint,
    user_data.blueprint,
    resource_requirements.blueprint,
    compute_nodes.blueprint,
    results.blueprint,
    events.blueprint,
    failure_handlers.blueprint,
    local_schedulers.blueprint,
    slurm_schedulers.blueprint,
    scheduled_compute_nodes.blueprint,
    slurm_stats.blueprint,
    remote_workers.blueprint,
    ro_crate_entities.blueprint,
)
