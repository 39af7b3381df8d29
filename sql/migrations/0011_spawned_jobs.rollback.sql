-- Takes back 0011. No data is lost.
DROP INDEX torc.user_data_workflow_id_name_key;
DROP INDEX torc.resource_requirements_name_idx;
DROP INDEX torc.job_name_idx;
