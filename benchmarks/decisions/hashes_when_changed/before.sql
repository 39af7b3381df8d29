-- The hashes of all jobs are stored by each initialize_jobs.
CREATE OR REPLACE FUNCTION torc.renew_input_hashes(p_workflow_id bigint, p_kept_ids bigint[])
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO torc.job_internal (job_id, input_hash)
    SELECT job.id, now.input_hash
    FROM torc.job AS job
    CROSS JOIN LATERAL torc.input_hash(job) AS now
    WHERE workflow_id = p_workflow_id AND id <> ALL (p_kept_ids)
    ON CONFLICT (job_id) DO UPDATE
        SET input_hash = excluded.input_hash
        WHERE job_internal.input_hash IS DISTINCT FROM excluded.input_hash;
END
$$;
