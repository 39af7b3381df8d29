-- Takes back 0005. Ids of missing jobs do not return to the actions' lists.
DROP TABLE torc.workflow_action_job;
DROP INDEX torc.job_depends_on_key;
ALTER TABLE torc.job_depends_on
    REPLICA IDENTITY DEFAULT,
    ADD CONSTRAINT job_depends_on_pkey PRIMARY KEY (job_id, depends_on_job_id);
DROP INDEX torc.job_input_file_key;
ALTER TABLE torc.job_input_file
    REPLICA IDENTITY DEFAULT,
    ADD CONSTRAINT job_input_file_pkey PRIMARY KEY (job_id, file_id);
DROP INDEX torc.job_output_file_key;
ALTER TABLE torc.job_output_file
    REPLICA IDENTITY DEFAULT,
    ADD CONSTRAINT job_output_file_pkey PRIMARY KEY (job_id, file_id);
DROP INDEX torc.job_input_user_data_key;
ALTER TABLE torc.job_input_user_data
    REPLICA IDENTITY DEFAULT,
    ADD CONSTRAINT job_input_user_data_pkey PRIMARY KEY (job_id, user_data_id);
DROP INDEX torc.job_output_user_data_key;
ALTER TABLE torc.job_output_user_data
    REPLICA IDENTITY DEFAULT,
    ADD CONSTRAINT job_output_user_data_pkey PRIMARY KEY (job_id, user_data_id);
DROP INDEX torc.workflow_user_idx;
CREATE INDEX workflow_user_idx ON torc.workflow ("user", id);
DROP INDEX torc.resource_requirements_workflow_id_idx;
CREATE INDEX resource_requirements_workflow_id_idx ON torc.resource_requirements (workflow_id, id);
DROP INDEX torc.failure_handler_workflow_id_idx;
CREATE INDEX failure_handler_workflow_id_idx ON torc.failure_handler (workflow_id, id);
DROP INDEX torc.compute_node_workflow_id_idx;
CREATE INDEX compute_node_workflow_id_idx ON torc.compute_node (workflow_id, id);
DROP INDEX torc.job_workflow_id_idx;
CREATE INDEX job_workflow_id_idx ON torc.job (workflow_id, id);
DROP INDEX torc.job_workflow_id_status_idx;
CREATE INDEX job_workflow_id_status_idx ON torc.job (workflow_id, status, id);
DROP INDEX torc.job_ready_idx;
CREATE INDEX job_ready_idx ON torc.job (workflow_id, priority DESC, id) WHERE status = 'ready';
DROP INDEX torc.job_ready_scheduler_idx;
CREATE INDEX job_ready_scheduler_idx
    ON torc.job (workflow_id, resource_requirements_id, scheduler_id, priority DESC, id) WHERE status = 'ready';
DROP INDEX torc.job_ready_requirements_idx;
CREATE INDEX job_ready_requirements_idx
    ON torc.job (workflow_id, resource_requirements_id, priority DESC, id) WHERE status = 'ready';
DROP INDEX torc.job_depends_on_depends_on_job_id_idx;
CREATE INDEX job_depends_on_depends_on_job_id_idx ON torc.job_depends_on (depends_on_job_id, job_id);
DROP INDEX torc.file_workflow_id_idx;
CREATE INDEX file_workflow_id_idx ON torc.file (workflow_id, id);
DROP INDEX torc.user_data_workflow_id_idx;
CREATE INDEX user_data_workflow_id_idx ON torc.user_data (workflow_id, id);
DROP INDEX torc.job_input_file_file_id_idx;
CREATE INDEX job_input_file_file_id_idx ON torc.job_input_file (file_id, job_id);
DROP INDEX torc.job_output_file_file_id_idx;
CREATE INDEX job_output_file_file_id_idx ON torc.job_output_file (file_id, job_id);
DROP INDEX torc.job_input_user_data_user_data_id_idx;
CREATE INDEX job_input_user_data_user_data_id_idx ON torc.job_input_user_data (user_data_id, job_id);
DROP INDEX torc.job_output_user_data_user_data_id_idx;
CREATE INDEX job_output_user_data_user_data_id_idx ON torc.job_output_user_data (user_data_id, job_id);
DROP INDEX torc.result_workflow_id_idx;
CREATE INDEX result_workflow_id_idx ON torc.result (workflow_id, id);
DROP INDEX torc.event_workflow_id_idx;
CREATE INDEX event_workflow_id_idx ON torc.event (workflow_id, id);
DROP INDEX torc.event_workflow_id_timestamp_idx;
CREATE INDEX event_workflow_id_timestamp_idx ON torc.event (workflow_id, "timestamp", id);
DROP INDEX torc.workflow_action_workflow_id_idx;
CREATE INDEX workflow_action_workflow_id_idx ON torc.workflow_action (workflow_id, id);
DROP INDEX torc.scheduled_compute_node_workflow_id_idx;
CREATE INDEX scheduled_compute_node_workflow_id_idx ON torc.scheduled_compute_node (workflow_id, id);
DROP INDEX torc.local_scheduler_workflow_id_idx;
CREATE INDEX local_scheduler_workflow_id_idx ON torc.local_scheduler (workflow_id, id);
DROP INDEX torc.slurm_scheduler_workflow_id_idx;
CREATE INDEX slurm_scheduler_workflow_id_idx ON torc.slurm_scheduler (workflow_id, id);
DROP INDEX torc.slurm_stats_workflow_id_idx;
CREATE INDEX slurm_stats_workflow_id_idx ON torc.slurm_stats (workflow_id, id);
DROP INDEX torc.ro_crate_entity_workflow_id_idx;
CREATE INDEX ro_crate_entity_workflow_id_idx ON torc.ro_crate_entity (workflow_id, id);
