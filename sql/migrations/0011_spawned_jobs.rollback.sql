-- Takes back 0011. No data is lost.
DROP INDEX torc.user_data_workflow_id_name_key;
DROP INDEX torc.resource_requirements_name_idx;
ALTER TABLE torc.workflow_status DROP COLUMN names_until;
DROP TABLE torc.job_name;
