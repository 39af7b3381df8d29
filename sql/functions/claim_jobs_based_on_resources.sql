-- Hands out ready jobs that fit the free resources of a worker, in claim order, and makes them pending.
-- p_resources: num_cpus, memory_gb, num_gpus (each per node) and num_nodes; optional time_limit (ISO 8601 duration) and
-- scheduler_config_id. Candidates are the first p_limit fitting jobs that are pinned to no scheduler or to the worker's
-- own; if there are none and p_strict is false, the first p_limit fitting jobs of any scheduler. They are then packed.
-- A canceled workflow hands out nothing and says so in reason.
-- Locks: workflow shared, the workflow's claim lock (packing must see what others took: 17,000 jobs/s, against 1,700
-- with optimistic re-packing), the candidates' rows. Raises TC404, TC403, TC422 (limit, time_limit).
CREATE OR REPLACE FUNCTION torc.claim_jobs_based_on_resources(
    p_workflow_id bigint,
    p_limit bigint,
    p_strict boolean,
    p_resources jsonb,
    p_caller torc.caller DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_has_ready boolean := torc.share_for_claim(p_workflow_id, p_caller);
    v_time_limit_s bigint;
    v_candidates bigint[];
    v_locked bigint[];
BEGIN
    IF p_limit NOT BETWEEN 0 AND 100000 THEN
        PERFORM torc.fail(
            'TC422',
            format('limit must be from 0 to 100000, got %s', p_limit),
            jsonb_build_object('field', 'limit', 'value', p_limit)
        );
    END IF;
    IF NOT v_has_ready
        AND (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
    THEN
        RETURN json_build_object('jobs', '[]'::json, 'reason', 'Workflow is canceled');
    END IF;
    v_time_limit_s := torc.parse_duration(p_resources ->> 'time_limit', 'time_limit');
    IF NOT v_has_ready THEN
        RETURN json_build_object('jobs', '[]'::json);
    END IF;
    PERFORM pg_advisory_xact_lock(~p_workflow_id);
    LOOP
        v_candidates := torc.pick_fitting_jobs(p_workflow_id, p_limit, p_resources, v_time_limit_s, false);
        IF v_candidates = '{}' AND NOT p_strict THEN
            v_candidates := torc.pick_fitting_jobs(p_workflow_id, p_limit, p_resources, v_time_limit_s, true);
        END IF;
        v_locked := ARRAY(
            SELECT id FROM torc.job WHERE id = ANY (v_candidates) AND status = 'ready' FOR UPDATE SKIP LOCKED
        );
        EXIT WHEN v_locked <> '{}' OR v_candidates = '{}';
        -- claim_next_jobs or a transition holds them all: wait for the first, then look again at what is left. Whoever
        -- waits has empty hands, or two callers could wait for each other.
        PERFORM 1 FROM torc.job WHERE id = v_candidates[1] AND status = 'ready' FOR UPDATE;
    END LOOP;
    RETURN json_build_object('jobs', torc.hand_out_jobs(torc.pack_jobs(v_locked, p_resources)));
END
$$;

-- The first p_limit ready jobs in claim order whose requirements fit, pinned to no scheduler or to the asking one, or
-- to any if p_any_scheduler. First which requirements the ready jobs use (a walk over the index, one step each), then
-- the first jobs of every fitting one: a filter on the jobs themselves reads all that do not fit (22 claims/s against
-- 6,700).
-- One plan for all calls: planned anew each time, that took 700 µs of a claim's 1,250. It may be made while there are
-- next to no jobs, when all plans cost the same: so only indexes may give the order, and each ORDER BY spells out the
-- one that is meant. (BETWEEN x AND x means = x; but what equals a constant plays no part in the order, and then an
-- index would do that reads the jobs of other schedulers or requirements first.)
CREATE OR REPLACE FUNCTION torc.pick_fitting_jobs(
    p_workflow_id bigint,
    p_limit bigint,
    p_resources jsonb,
    p_time_limit_s bigint,
    p_any_scheduler boolean
)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_incremental_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    v_scheduler_config_id bigint := (p_resources ->> 'scheduler_config_id')::bigint;
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE used (id) AS (
            (
                SELECT resource_requirements_id
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready'
                ORDER BY resource_requirements_id, priority DESC, id
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT resource_requirements_id
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready' AND resource_requirements_id > used.id
                ORDER BY resource_requirements_id, priority DESC, id
                LIMIT 1
            )
            FROM used
            WHERE used.id IS NOT NULL
        ),

        fitting AS (
            SELECT requirements.id
            FROM used
            CROSS JOIN LATERAL (SELECT * FROM torc.resource_requirements WHERE id = used.id OFFSET 0) AS requirements
            WHERE requirements.memory_bytes <= torc.gigabytes_to_bytes((p_resources ->> 'memory_gb')::float8)
                AND requirements.num_cpus <= (p_resources ->> 'num_cpus')::bigint
                AND requirements.num_gpus <= (p_resources ->> 'num_gpus')::bigint
                AND requirements.num_nodes <= (p_resources ->> 'num_nodes')::bigint
                AND requirements.runtime_s <= coalesce(p_time_limit_s, 9223372036854775807)
        )

        SELECT first_jobs.id
        FROM fitting
        CROSS JOIN LATERAL (
            (
                SELECT id, priority
                FROM torc.job
                WHERE NOT p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND resource_requirements_id = fitting.id AND scheduler_id IS NULL
                ORDER BY scheduler_id, priority DESC, id
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT id, priority
                FROM torc.job
                WHERE NOT p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND resource_requirements_id = fitting.id
                    AND scheduler_id BETWEEN v_scheduler_config_id AND v_scheduler_config_id
                ORDER BY scheduler_id, priority DESC, id
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT id, priority
                FROM torc.job
                WHERE p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND resource_requirements_id BETWEEN fitting.id AND fitting.id
                ORDER BY resource_requirements_id, priority DESC, id
                LIMIT p_limit
            )
        ) AS first_jobs
        ORDER BY first_jobs.priority DESC, first_jobs.id
        LIMIT p_limit
    );
END
$$;

-- Packs candidates into the worker's nodes, once through in claim order, and returns those that fit. A job of several
-- nodes takes whole nodes; jobs of one node share what the other nodes have together. A job that does not fit is
-- skipped; later ones are still tried.
CREATE OR REPLACE FUNCTION torc.pack_jobs(p_job_ids bigint[], p_resources jsonb)
RETURNS bigint[]
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_nodes bigint := greatest((p_resources ->> 'num_nodes')::bigint, 1);
    v_cpus numeric := (p_resources ->> 'num_cpus')::bigint;
    v_gpus numeric := (p_resources ->> 'num_gpus')::bigint;
    v_memory numeric := torc.gigabytes_to_bytes((p_resources ->> 'memory_gb')::float8);
    v_used_cpus numeric := 0;
    v_used_gpus numeric := 0;
    v_used_memory numeric := 0;
    v_needed bigint;
    v_left bigint;
    v_single integer;
    v_accepted bigint[] := '{}';
    v_job record;
BEGIN
    FOR v_job IN
        SELECT job.id, requirements.num_cpus, requirements.num_gpus, requirements.memory_bytes, requirements.num_nodes
        FROM torc.job AS job
        CROSS JOIN LATERAL (
            SELECT * FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
        ) AS requirements
        WHERE job.id = ANY (p_job_ids)
        ORDER BY job.priority DESC, job.id
    LOOP
        v_needed := greatest(v_job.num_nodes, 1);
        v_single := (v_needed = 1)::integer;
        v_left := v_nodes - CASE WHEN v_needed > 1 THEN v_needed ELSE 0 END;
        CONTINUE WHEN v_left < 0
            OR v_used_cpus + v_single * v_job.num_cpus > v_left * v_cpus
            OR v_used_gpus + v_single * v_job.num_gpus > v_left * v_gpus
            OR v_used_memory + v_single * v_job.memory_bytes > v_left * v_memory;
        v_nodes := v_left;
        v_used_cpus := v_used_cpus + v_single * v_job.num_cpus;
        v_used_gpus := v_used_gpus + v_single * v_job.num_gpus;
        v_used_memory := v_used_memory + v_single * v_job.memory_bytes;
        v_accepted := v_accepted || v_job.id;
    END LOOP;
    RETURN v_accepted;
END
$$;
