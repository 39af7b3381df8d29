-- Takes back 0001. Everything in these tables is lost.
DROP TABLE
    torc.workflow_access_group,
    torc.user_group_membership,
    torc.access_group,
    torc.ro_crate_entity,
    torc.remote_worker,
    torc.slurm_stats,
    torc.slurm_scheduler,
    torc.local_scheduler,
    torc.scheduled_compute_node,
    torc.workflow_action,
    torc.event_stream,
    torc.event,
    torc.result,
    torc.job_output_user_data,
    torc.job_input_user_data,
    torc.job_output_file,
    torc.job_input_file,
    torc.user_data,
    torc.file,
    torc.job_depends_on,
    torc.job_internal,
    torc.job,
    torc.compute_node,
    torc.failure_handler,
    torc.resource_requirements,
    torc.workflow_status,
    torc.workflow;
DROP TYPE torc.new_job;
DROP TYPE torc.status_change;
DROP TYPE torc.caller;
DROP TYPE torc.job_status;
