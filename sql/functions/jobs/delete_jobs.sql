-- Deletes one job and returns it with its relations. forget_deleted_jobs() does the rest.
-- Locks: workflow exclusive. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_job(p_job_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_answer json;
BEGIN
    PERFORM torc.lock_workflow(torc.workflow_of_job(p_job_id), p_caller);
    v_answer := torc.job_with_relations_json(p_job_id);
    DELETE FROM torc.job WHERE id = p_job_id;
    IF NOT FOUND THEN  -- deleted during the wait
        PERFORM torc.fail('TC404', format('Job not found with ID: %s', p_job_id));
    END IF;
    PERFORM torc.audit(
        p_caller, 'delete_job',
        format('SELECT torc.delete_job(%s)', p_job_id), (v_answer ->> 'workflow_id')::bigint, NULL,
        jsonb_build_object('job_id', p_job_id)
    );
    RETURN v_answer;
END
$$;

-- Deletes all jobs of a workflow; returns how many. Locks: workflow exclusive. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.delete_jobs(p_workflow_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_count bigint;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    DELETE FROM torc.job WHERE workflow_id = p_workflow_id;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN torc.audit_deletion(v_count, 'job', p_workflow_id, p_caller);
END
$$;
