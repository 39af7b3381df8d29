-- Completes many jobs of a workflow in one transaction: what it leaves behind is what complete_job() leaves when it is
-- called for one after the other. Whatever complete_job() refuses is listed under errors and changes nothing; all else
-- is stored. Answers {"completed": [job ids], "errors": [{"job_id", "message"}]}, each in the order of p_completions:
-- a JSON array of {job_id, status, run_id, result: ResultModel}.
-- The first report of the attempt under way of a claimed or running job is plain, and so is nearly every one. Plain
-- entries are completed together, with a few statements however many they are: 90 µs of CPU a job in batches of 500,
-- 200 in batches of 10, 860 one by one (jobs with two dependents each, three actions); without any 59 in batches of 10.
-- All others (reports sent again, stale ones, jobs that wait) go through complete_job(), in their turn: there the order
-- matters, because an earlier completion may have released or canceled the job.
-- Locks: workflow shared, the jobs by id, dependents by id, action rows by id.
-- Raises TC404, TC403.
CREATE OR REPLACE FUNCTION torc.batch_complete_jobs(
    p_workflow_id bigint,
    p_completions jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_job_ids bigint[] := ARRAY(SELECT (entry ->> 'job_id')::bigint FROM jsonb_array_elements(p_completions) AS entry);
    v_run_id bigint;
    v_entry record;
    v_results torc.result[] := '{}';  -- of plain entries that are not stored yet
    v_changes torc.status_change[] := '{}';  -- what their jobs do
    v_completed bigint[] := '{}';
    v_errors json[] := '{}';
    v_message text;
BEGIN
    IF p_caller.enforced OR NOT torc.try_lock_workflow_shared(p_workflow_id) THEN
        PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    END IF;
    SELECT run_id INTO v_run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id;
    IF NOT FOUND THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    -- Not "=", which another index than that of the id could serve.
    PERFORM 1
    FROM torc.job
    WHERE id = ANY (v_job_ids) AND workflow_id IS NOT DISTINCT FROM p_workflow_id
    ORDER BY id
    FOR UPDATE;

    FOR v_entry IN
        SELECT
            sent.job_id,
            sent.status,
            sent.run_id,
            sent.result AS sent_result,
            sent.row AS result,
            job.status AS old_status,
            job.workflow_id,
            row_number() OVER (PARTITION BY sent.job_id ORDER BY sent.position) = 1
            AND torc.is_terminal(sent.status)
            AND job.workflow_id = p_workflow_id
            AND torc.is_active(job.status)
            AND job.attempt_run_id IS NULL
            AND NOT job.has_result
            AND (sent.row).job_id = sent.job_id
            AND (sent.row).workflow_id = p_workflow_id
            AND (sent.row).status = sent.status
            AND sent.run_id = v_run_id
            AND (sent.row).run_id = v_run_id
            AND coalesce((sent.row).attempt_id, job.attempt_id) = job.attempt_id
            AND p_workflow_id = (
                SELECT workflow_id FROM torc.compute_node WHERE id = (sent.row).compute_node_id OFFSET 0
            ) AS is_plain,
            job.attempt_id
        FROM (
            SELECT
                position,
                (entry ->> 'job_id')::bigint AS job_id,
                (entry ->> 'status')::torc.job_status AS status,
                (entry ->> 'run_id')::bigint AS run_id,
                entry -> 'result' AS result,
                jsonb_populate_record(NULL::torc.result, entry -> 'result') AS row
            FROM jsonb_array_elements(p_completions) WITH ORDINALITY AS item (entry, position)
            OFFSET 0  -- each row is read once
        ) AS sent
        LEFT JOIN LATERAL (
            SELECT
                workflow_id,
                status,
                attempt_id,
                attempt_run_id,
                EXISTS (
                    -- One of this run that is not current: the workflow has gone back to an earlier run.
                    SELECT 1 FROM torc.result WHERE job_id = job.id AND (is_current OR run_id = v_run_id) OFFSET 0
                ) AS has_result
            FROM torc.job AS job
            WHERE id = sent.job_id
            OFFSET 0
        ) AS job ON true
        ORDER BY sent.position
    LOOP
        IF v_entry.is_plain THEN
            v_entry.result.attempt_id := v_entry.attempt_id;
            v_results := array_append(v_results, v_entry.result);
            v_changes := array_append(
                v_changes, (v_entry.job_id, v_entry.old_status, v_entry.status)::torc.status_change
            );
            v_completed := array_append(v_completed, v_entry.job_id);
            CONTINUE;
        END IF;
        PERFORM torc.complete_running_jobs(p_workflow_id, v_results, v_changes);
        v_results := '{}';
        v_changes := '{}';
        v_message := CASE
            WHEN v_entry.workflow_id IS NULL THEN format('Job not found with ID: %s', v_entry.job_id)
            WHEN v_entry.workflow_id <> p_workflow_id THEN format(
                'job_id=%s belongs to workflow_id=%s but batch target is workflow_id=%s',
                v_entry.job_id, v_entry.workflow_id, p_workflow_id
            )
            ELSE torc.refusal_of_completion(
                v_entry.job_id, v_entry.status, v_entry.run_id, v_entry.sent_result, p_caller
            )
        END;
        IF v_message IS NULL THEN
            v_completed := array_append(v_completed, v_entry.job_id);
        ELSE
            v_errors := array_append(v_errors, json_build_object('job_id', v_entry.job_id, 'message', v_message));
        END IF;
    END LOOP;
    PERFORM torc.complete_running_jobs(p_workflow_id, v_results, v_changes);
    RETURN json_build_object('completed', v_completed, 'errors', v_errors);
END
$$;

-- complete_job() for the first reports of the attempts under way of claimed and running jobs, all at once: one insert,
-- one update, one walk downstream, actions and events once. p_changes: what the jobs of p_results do, in that order.
-- The caller holds the workflow's lock and the rows of the jobs, and has checked all that complete_job() checks.
CREATE OR REPLACE FUNCTION torc.complete_running_jobs(
    p_workflow_id bigint,
    p_results torc.result[],
    p_changes torc.status_change[]
)
RETURNS void
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_nestloop = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_job_ids bigint[];
    v_downstream torc.status_change[] := '{}';
BEGIN
    IF p_results = '{}' THEN
        RETURN;
    END IF;
    v_job_ids := ARRAY(SELECT job_id FROM unnest(p_changes));
    INSERT INTO torc.result (
        job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
        compute_node_id, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent,
        exit_code, stdout, stderr, is_current
    )
    SELECT
        job_id, workflow_id, run_id, attempt_id, return_code, exec_time_minutes, completion_time, status,
        compute_node_id, peak_memory_bytes, avg_memory_bytes, peak_cpu_percent, avg_cpu_percent,
        exit_code, stdout, stderr, true
    FROM unnest(p_results);

    UPDATE torc.job AS job
    SET status = change.new_status, active_compute_node_id = NULL, canceled_by_dependency = false
    FROM unnest(p_changes) AS change
    WHERE job.id = change.job_id AND job.id = ANY (v_job_ids);

    IF torc.is_watched(p_workflow_id) THEN
        PERFORM torc.publish_completion(job, sent.result)
        FROM (SELECT result, row_number() OVER () AS position FROM unnest(p_results) AS result) AS sent
        INNER JOIN torc.job AS job ON job.id = (sent.result).job_id
        WHERE job.id = ANY (v_job_ids)
        ORDER BY sent.position;
    END IF;
    IF EXISTS (
        SELECT 1
        FROM unnest(v_job_ids) AS ended (job_id)
        CROSS JOIN LATERAL torc.dependents_of(ended.job_id) AS dependent
    ) THEN
        v_downstream := torc.move_dependents(p_changes);
    END IF;
    IF EXISTS (SELECT 1 FROM torc.workflow_action WHERE workflow_id = p_workflow_id) THEN
        PERFORM torc.trigger_job_actions(p_workflow_id, p_changes || v_downstream);
        PERFORM torc.trigger_workflow_complete(p_workflow_id);
    END IF;
    IF v_downstream <> '{}' THEN
        PERFORM torc.publish_changes(p_workflow_id, v_downstream);
    END IF;
END
$$;

-- complete_job(), which says why it refuses instead of raising that. NULL: it did not refuse. What is no fault of the
-- report, such as a deadlock, is raised.
CREATE OR REPLACE FUNCTION torc.refusal_of_completion(
    p_job_id bigint,
    p_status torc.job_status,
    p_run_id bigint,
    p_result jsonb,
    p_caller torc.caller
)
RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    v_constraint text;
BEGIN
    PERFORM torc.complete_job(p_job_id, p_status, p_run_id, p_result, p_caller);
    RETURN NULL;
EXCEPTION
    WHEN SQLSTATE 'TC404' OR SQLSTATE 'TC403' OR SQLSTATE 'TC409' OR SQLSTATE 'TC422' THEN
        RETURN sqlerrm;
    WHEN unique_violation THEN
        GET STACKED DIAGNOSTICS v_constraint = CONSTRAINT_NAME;
        IF v_constraint = 'result_job_id_run_id_attempt_id_key' THEN
            RETURN format('Another result of this attempt of job %s is stored for run %s', p_job_id, p_run_id);
        END IF;
        RAISE;
END
$$;
