-- Derives edges from files and user data, then sets every job to blocked or ready.
--   * every uninitialized, pending, running, terminated or pending_failed job becomes blocked if a direct dependency is
--     not complete, else ready; canceled-by-dependency jobs whose cause is gone follow;
--   * by default a job of any other status with an open dependency becomes blocked too, unless it is disabled;
--   * p_only_uninitialized: instead, everything downstream of an uninitialized job is first made uninitialized, again
--     except disabled jobs;
--   * p_keep_running: pending and running jobs that held_jobs() finds are left alone, input hash included.
-- Then: in a later run than that of its last retry, a job is at attempt 1 again; unfinished jobs lose their current
-- result; on p_clear_ephemeral_user_data the data of ephemeral records is emptied whose producers are not complete; the
-- input hashes are those of now; RO-Crate entities are recorded; actions start again. The results stay, and so does the
-- run id, unless raise_run_id_if_due() says otherwise.
-- Answers how many pending and running jobs were taken back, and how many kept.
-- Locks: workflow exclusive. Raises TC404, TC403, TC422 (cycle; nothing is changed).
CREATE OR REPLACE FUNCTION torc.initialize_jobs(
    p_workflow_id bigint,
    p_only_uninitialized boolean DEFAULT false,
    p_clear_ephemeral_user_data boolean DEFAULT false,
    p_keep_running boolean DEFAULT false,
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
    v_edges_added boolean;
    v_reopened boolean := false;
    v_left_complete boolean;
    v_kept_ids bigint[] := '{}';
    v_active_count bigint;
BEGIN
    PERFORM torc.lock_workflow(p_workflow_id, p_caller);
    PERFORM torc.raise_run_id_if_due(p_workflow_id, p_caller);
    IF p_keep_running THEN
        v_kept_ids := torc.held_jobs(p_workflow_id);
        PERFORM torc.keep_input_hashes(v_kept_ids);
    END IF;
    v_active_count := torc.count_active_jobs(p_workflow_id);
    v_edges_added := torc.derive_dependencies(p_workflow_id);
    IF p_only_uninitialized THEN
        v_reopened := torc.uninitialize_downstream(p_workflow_id, ARRAY['uninitialized'::torc.job_status], v_kept_ids);
    END IF;
    v_left_complete := torc.set_initial_statuses(
        p_workflow_id, p_only_uninitialized, v_edges_added OR v_reopened, v_kept_ids
    );
    IF v_edges_added OR v_reopened OR v_left_complete THEN
        PERFORM torc.recount_dependencies(p_workflow_id);
    END IF;
    PERFORM torc.refuse_cycle(p_workflow_id);
    PERFORM torc.restart_attempts(p_workflow_id);
    IF p_clear_ephemeral_user_data THEN
        PERFORM torc.clear_ephemeral_user_data(p_workflow_id);
    END IF;
    PERFORM torc.forget_current_results(p_workflow_id);
    PERFORM torc.renew_input_hashes(p_workflow_id, v_kept_ids);
    PERFORM torc.record_ro_crate(p_workflow_id, p_caller);
    PERFORM torc.reset_actions(p_workflow_id, p_only_uninitialized);
    PERFORM torc.publish_initialization(
        p_workflow_id,
        CASE WHEN p_only_uninitialized THEN 'workflow_started' ELSE 'workflow_reinitialized' END,
        p_caller
    );
    RETURN json_build_object(
        'message', 'Initialized job status',
        'jobs_taken_back', v_active_count - cardinality(v_kept_ids),
        'jobs_kept', cardinality(v_kept_ids)
    );
END
$$;

-- Adds the edges consumer -> producer of every shared file and user data. They stay, and look like explicit ones. None
-- from a job to itself: those are for refuse_cycle(). Returns whether there were new ones.
CREATE OR REPLACE FUNCTION torc.derive_dependencies(p_workflow_id bigint)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    WITH derived AS (
        SELECT consumer.job_id, producer.job_id AS depends_on_job_id
        FROM torc.file AS file
        CROSS JOIN LATERAL (SELECT job_id FROM torc.job_input_file WHERE file_id = file.id OFFSET 0) AS consumer
        CROSS JOIN LATERAL (SELECT job_id FROM torc.job_output_file WHERE file_id = file.id OFFSET 0) AS producer
        WHERE file.workflow_id = p_workflow_id
        UNION
        SELECT consumer.job_id, producer.job_id AS depends_on_job_id
        FROM torc.user_data AS item
        CROSS JOIN LATERAL (
            SELECT job_id FROM torc.job_input_user_data WHERE user_data_id = item.id OFFSET 0
        ) AS consumer
        CROSS JOIN LATERAL (
            SELECT job_id FROM torc.job_output_user_data WHERE user_data_id = item.id OFFSET 0
        ) AS producer
        WHERE item.workflow_id = p_workflow_id
    )

    INSERT INTO torc.job_depends_on (job_id, depends_on_job_id)
    SELECT job_id, depends_on_job_id
    FROM derived
    WHERE job_id <> depends_on_job_id
    ORDER BY job_id, depends_on_job_id  -- that of the index
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- Sets the initial statuses, when the edges are there. Returns whether a job left the complete set; the caller then has
-- to call recount_dependencies(). Only jobs that wait for something are made blocked. p_count: count open dependencies
-- from the edges, because edges or statuses have changed; otherwise the jobs are not joined with themselves
-- (benchmarks/decisions/plain_initial_statuses). p_kept_ids: jobs to be left alone.
CREATE OR REPLACE FUNCTION torc.set_initial_statuses(
    p_workflow_id bigint,
    p_only_uninitialized boolean,
    p_count boolean,
    p_kept_ids bigint[]
)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_left_complete boolean;
BEGIN
    IF NOT p_count THEN
        v_left_complete := EXISTS (
            SELECT 1
            FROM torc.job
            WHERE workflow_id = p_workflow_id
                AND torc.is_complete(status)
                AND status <> torc.initial_status(status, open_dependencies, p_only_uninitialized)
        );
        UPDATE torc.job
        SET
            status = torc.initial_status(status, open_dependencies, p_only_uninitialized),
            ready_at = torc.now(),  -- means nothing unless the job is ready
            active_compute_node_id = NULL,
            canceled_by_dependency = false
        WHERE workflow_id = p_workflow_id
            AND status <> torc.initial_status(status, open_dependencies, p_only_uninitialized)
            AND id <> ALL (p_kept_ids);
        RETURN v_left_complete;
    END IF;

    WITH target AS (
        SELECT
            job.id,
            job.status AS old_status,
            torc.initial_status(job.status, counted.open_dependencies, p_only_uninitialized) AS status,
            counted.open_dependencies
        FROM torc.job AS job
        INNER JOIN torc.count_all_dependencies(p_workflow_id) AS counted ON counted.job_id = job.id
        WHERE job.workflow_id = p_workflow_id AND job.id <> ALL (p_kept_ids)
    ),

    moved AS (
        UPDATE torc.job AS job
        SET
            status = target.status,
            ready_at = torc.now(),
            open_dependencies = target.open_dependencies,
            active_compute_node_id = NULL,
            canceled_by_dependency = false
        FROM target
        WHERE job.id = target.id AND job.workflow_id = p_workflow_id AND job.status <> target.status
        RETURNING target.old_status
    )

    SELECT coalesce(bool_or(torc.is_complete(old_status)), false) INTO v_left_complete FROM moved;
    RETURN v_left_complete;
END
$$;

-- The status that initialize_jobs gives a job. Inlined.
CREATE OR REPLACE FUNCTION torc.initial_status(
    p_status torc.job_status,
    p_open_dependencies bigint,
    p_only_uninitialized boolean
)
RETURNS torc.job_status
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_status = 'disabled' THEN p_status
        WHEN p_open_dependencies > 0 AND (p_status = 'uninitialized' OR NOT p_only_uninitialized) THEN 'blocked'
        WHEN torc.is_restartable(p_status) THEN 'ready'
        ELSE p_status
    END
$$;

-- Everything downstream of the jobs with one of the given statuses becomes uninitialized, whatever its status, except
-- disabled jobs and those of p_kept_ids; returns whether that changed a job. Counters are left to
-- recount_dependencies().
CREATE OR REPLACE FUNCTION torc.uninitialize_downstream(
    p_workflow_id bigint,
    p_statuses torc.job_status[],
    p_kept_ids bigint[] DEFAULT '{}'
)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    WITH RECURSIVE downstream (job_id) AS (
        SELECT id FROM torc.job WHERE workflow_id = p_workflow_id AND status = ANY (p_statuses)
        UNION  -- without duplicates: the paths of a dense graph are exponentially many
        SELECT dependent.job_id
        FROM downstream
        CROSS JOIN LATERAL torc.dependents_of(downstream.job_id) AS dependent
    )

    UPDATE torc.job
    SET status = 'uninitialized', active_compute_node_id = NULL, canceled_by_dependency = false
    WHERE id = ANY (ARRAY(SELECT job_id FROM downstream))
        AND torc.is_initialized(status)
        AND id <> ALL (p_kept_ids);
    RETURN FOUND;
END
$$;

-- The jobs that an active compute node may hold: those that run on one, and if there is any in the workflow, all
-- pending ones, because a claim need not name its node.
CREATE OR REPLACE FUNCTION torc.held_jobs(p_workflow_id bigint)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_is_any_active boolean := EXISTS (
        SELECT 1 FROM torc.compute_node WHERE workflow_id = p_workflow_id AND is_active
    );
BEGIN
    RETURN ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id
            AND CASE status
                WHEN 'pending' THEN v_is_any_active
                WHEN 'running' THEN EXISTS (
                    SELECT 1 FROM torc.compute_node WHERE id = job.active_compute_node_id AND is_active OFFSET 0
                )
                ELSE false
            END
    );
END
$$;

-- How many jobs of a workflow are pending or running.
CREATE OR REPLACE FUNCTION torc.count_active_jobs(p_workflow_id bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (SELECT count(*) FROM torc.job WHERE workflow_id = p_workflow_id AND torc.is_active(status));
END
$$;

-- Unfinished jobs have no current result. Those with a result in the current run are marked by attempt_run_id, so that
-- complete_job finds it.
CREATE OR REPLACE FUNCTION torc.forget_current_results(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
BEGIN
    WITH forgotten AS (
        UPDATE torc.result
        SET is_current = false
        WHERE workflow_id = p_workflow_id AND is_current
            AND NOT torc.is_complete((SELECT status FROM torc.job WHERE id = result.job_id))
        RETURNING job_id, run_id
    )

    UPDATE torc.job
    SET attempt_run_id = v_run_id
    WHERE id = ANY (ARRAY(SELECT job_id FROM forgotten WHERE run_id = v_run_id));
END
$$;

-- Empties ephemeral user data that some job still has to produce.
CREATE OR REPLACE FUNCTION torc.clear_ephemeral_user_data(p_workflow_id bigint)
RETURNS void
LANGUAGE sql
AS $$
    UPDATE torc.user_data AS user_data
    SET data = NULL
    WHERE workflow_id = p_workflow_id AND is_ephemeral AND data IS NOT NULL
        AND EXISTS (
            SELECT 1
            FROM torc.job_output_user_data AS output
            WHERE output.user_data_id = user_data.id
                AND NOT torc.is_complete((SELECT status FROM torc.job WHERE id = output.job_id))
            OFFSET 0
        )
$$;

-- Notifies open streams. The contract swaps the two names: a full initialization publishes workflow_reinitialized,
-- only_uninitialized publishes workflow_started.
CREATE OR REPLACE FUNCTION torc.publish_initialization(p_workflow_id bigint, p_type text, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM torc.publish_event(p_workflow_id, p_type, 'info', jsonb_build_object(
        'category', 'workflow',
        'type', p_type,
        'user', coalesce(p_caller.name, current_user),
        'message', format('%s workflow %s', replace(p_type, '_', ' '), p_workflow_id)
    ));
END
$$;
