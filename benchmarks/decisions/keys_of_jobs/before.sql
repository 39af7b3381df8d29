-- Jobs and results with foreign keys, and with the indexes that those and deletions by one column need.
CREATE UNIQUE INDEX result_current_idx ON torc.result (job_id) WHERE is_current;
CREATE INDEX result_compute_node_id_idx ON torc.result (compute_node_id);
CREATE INDEX job_failure_handler_id_idx ON torc.job (failure_handler_id) WHERE failure_handler_id IS NOT NULL;
CREATE INDEX job_resource_requirements_id_idx ON torc.job (resource_requirements_id);
ALTER TABLE torc.result
    ADD CONSTRAINT result_compute_node_id_fkey
        FOREIGN KEY (compute_node_id) REFERENCES torc.compute_node(id) ON DELETE CASCADE;
ALTER TABLE torc.job
    ADD CONSTRAINT job_workflow_id_fkey FOREIGN KEY (workflow_id) REFERENCES torc.workflow(id) ON DELETE CASCADE,
    ADD CONSTRAINT job_resource_requirements_id_fkey
        FOREIGN KEY (resource_requirements_id) REFERENCES torc.resource_requirements(id) ON DELETE CASCADE,
    ADD CONSTRAINT job_failure_handler_id_fkey
        FOREIGN KEY (failure_handler_id) REFERENCES torc.failure_handler(id) ON DELETE SET NULL,
    ADD CONSTRAINT job_active_compute_node_id_fkey
        FOREIGN KEY (active_compute_node_id) REFERENCES torc.compute_node(id) ON DELETE SET NULL;
DROP TRIGGER check_new_jobs ON torc.job;
DROP TRIGGER forget_deleted_requirements ON torc.resource_requirements;
DROP TRIGGER forget_deleted_handlers ON torc.failure_handler;
DROP TRIGGER forget_deleted_nodes ON torc.compute_node;
DROP TRIGGER forget_deleted_workflows ON torc.workflow;
