-- The ids of deleted jobs in the order of their rows: each statement that deletes what belongs to them sorts them.
CREATE OR REPLACE FUNCTION torc.forget_deleted_jobs()
RETURNS trigger
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_job_ids bigint[] := ARRAY(SELECT id FROM deleted_job);
    v_workflow_ids bigint[] := ARRAY(SELECT DISTINCT workflow_id FROM deleted_job);
    v_changes torc.status_change[];
    v_has_names boolean := EXISTS (SELECT 1 FROM torc.job_name WHERE workflow_id = ANY (v_workflow_ids));
BEGIN
    IF EXISTS (SELECT 1 FROM torc.workflow WHERE id = ANY (v_workflow_ids)) THEN  -- not while the workflow itself goes
        SELECT array_agg((job.id, job.status, 'completed')::torc.status_change)
        INTO v_changes
        FROM deleted_job AS job
        WHERE EXISTS (SELECT 1 FROM torc.workflow WHERE id = job.workflow_id OFFSET 0)
            AND EXISTS (SELECT 1 FROM torc.job_depends_on WHERE depends_on_job_id = job.id OFFSET 0);
        PERFORM torc.keep_input_hashes(ARRAY(
            SELECT DISTINCT dependent.job_id
            FROM unnest(v_changes) AS change
            CROSS JOIN LATERAL torc.dependents_of(change.job_id) AS dependent
        ));
    END IF;
    PERFORM torc.forget_jobs_of_actions(v_job_ids);
    DELETE FROM torc.job_depends_on WHERE job_id = ANY (v_job_ids);
    PERFORM torc.settle_dependents(v_changes);
    DELETE FROM torc.job_depends_on WHERE depends_on_job_id = ANY (v_job_ids);
    DELETE FROM torc.job_input_file WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.job_output_file WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.job_input_user_data WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.job_output_user_data WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.result WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.job_internal WHERE job_id = ANY (v_job_ids);
    DELETE FROM torc.slurm_stats WHERE job_id = ANY (v_job_ids);
    IF v_has_names THEN
        DELETE FROM torc.job_name WHERE ctid = ANY (ARRAY(
            SELECT entry.ctid
            FROM deleted_job AS job
            CROSS JOIN LATERAL (
                SELECT ctid
                FROM torc.job_name
                WHERE workflow_id = job.workflow_id AND hash = hashtextextended(job.name, 0) AND job_id = job.id
                OFFSET 0
            ) AS entry
        ));
    END IF;
    RETURN NULL;
END
$$;
