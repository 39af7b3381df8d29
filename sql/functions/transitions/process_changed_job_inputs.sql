-- Names the jobs whose input hash differs from the one at the last initialize_jobs, by id; unless p_dry_run, makes them
-- uninitialized, whatever their status. Disabled jobs and those never initialized are passed over. Those hashes stay,
-- so the same names come again until initialize_jobs. Unless p_dry_run, an event is stored, also when none changed.
-- Locks: workflow exclusive. Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.process_changed_job_inputs(
    p_workflow_id bigint,
    p_dry_run boolean DEFAULT false,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_changed bigint[];
    v_names jsonb;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    v_changed := ARRAY(
        SELECT job.id
        FROM torc.job AS job
        CROSS JOIN LATERAL (SELECT input_hash FROM torc.job_internal WHERE job_id = job.id OFFSET 0) AS stored
        CROSS JOIN LATERAL torc.input_hash(job) AS now
        WHERE job.workflow_id = p_workflow_id
            AND job.status <> 'disabled'
            AND stored.input_hash <> now.input_hash
    );
    v_names := (SELECT coalesce(jsonb_agg(name ORDER BY id), '[]') FROM torc.job WHERE id = ANY (v_changed));
    IF NOT p_dry_run THEN
        PERFORM torc.uninitialize_jobs(p_workflow_id, v_changed);
        PERFORM torc.store_user_action(p_workflow_id, p_caller, 'process_changed_job_inputs', jsonb_build_object(
            'workflow_id', p_workflow_id,
            'reinitialized_count', cardinality(v_changed),
            'reinitialized_jobs', v_names
        ));
    END IF;
    RETURN json_build_object('reinitialized_jobs', v_names);
END
$$;

-- Makes the given jobs uninitialized and settles their dependents. The caller holds the workflow's exclusive lock.
CREATE OR REPLACE FUNCTION torc.uninitialize_jobs(p_workflow_id bigint, p_job_ids bigint[])
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_changes torc.status_change[];
BEGIN
    WITH before AS (
        SELECT id, status FROM torc.job WHERE id = ANY (p_job_ids) AND status <> 'uninitialized'
    ),

    moved AS (
        UPDATE torc.job
        SET status = 'uninitialized', canceled_by_dependency = false
        FROM before
        WHERE job.id = before.id AND job.id = ANY (p_job_ids)
        RETURNING (job.id, before.status, job.status)::torc.status_change AS change
    )

    SELECT array_agg(change) INTO v_changes FROM moved;
    PERFORM torc.publish_changes(p_workflow_id, v_changes);
    PERFORM torc.settle_dependents(v_changes);
END
$$;
