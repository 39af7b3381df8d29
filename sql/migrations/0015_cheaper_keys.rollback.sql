-- Takes back 0015. No data is lost. Fails if a row names a missing one: torc.check_references() lists those.
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
DROP TABLE torc.cross_reference;
