-- Deletes one record of resource requirements with every job that uses it; returns it, NULL if there is none.
-- Locks as delete_requirements_and_jobs(). Raises TC403.
CREATE OR REPLACE FUNCTION torc.delete_resource_requirement(p_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_old torc.resource_requirements;
BEGIN
    SELECT * INTO v_old FROM torc.resource_requirements WHERE id = p_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.authorize_workflow(v_old.workflow_id, p_caller);
    SELECT * INTO v_old FROM torc.delete_requirements_and_jobs(v_old.workflow_id, ARRAY[p_id], p_caller);
    PERFORM torc.audit(
        p_caller, 'delete_resource_requirement', format('SELECT torc.delete_resource_requirement(%s)', p_id),
        v_old.workflow_id
    ) WHERE v_old.id IS NOT NULL;
    RETURN CASE WHEN v_old.id IS NOT NULL THEN torc.resource_requirements_json(v_old) END;
END
$$;

-- Deletes all resource requirements of a workflow, the default ones too, with every job that uses them; returns how
-- many requirements. Locks as delete_requirements_and_jobs(). Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_resource_requirements(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    SELECT count(*)
    INTO v_count
    FROM torc.delete_requirements_and_jobs(
        p_workflow_id, ARRAY(SELECT id FROM torc.resource_requirements WHERE workflow_id = p_workflow_id), p_caller
    );
    RETURN torc.audit_deletion(v_count, 'resource_requirements', p_workflow_id, p_caller);
END
$$;

-- Deletes these requirements of the workflow and (by forget_deleted_requirements) the jobs that use them, whatever
-- workflow the jobs are in.
-- Locks as lock_requirements(). Raises TC403.
CREATE OR REPLACE FUNCTION torc.delete_requirements_and_jobs(p_workflow_id bigint, p_ids bigint[], p_caller torc.caller)
RETURNS SETOF torc.resource_requirements
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    PERFORM torc.lock_requirements(p_workflow_id, p_ids, p_caller);
    RETURN QUERY DELETE FROM torc.resource_requirements WHERE id = ANY (p_ids) RETURNING *;
END
$$;
