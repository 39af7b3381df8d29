-- Claims ready jobs that fit the free resources of a worker, in claim order, and makes them pending.
-- p_resources: num_cpus, memory_gb, num_gpus (each per node) and num_nodes; optional time_limit (ISO 8601 duration),
-- scheduler_config_id and labels, as in claim_next_jobs(). Claim order: priority, then what needs most (GPUs, runtime,
-- memory, CPUs), then id. Candidates are the first p_limit fitting jobs that are pinned to no scheduler or to the
-- worker's own; if there are none and p_strict is false, the first p_limit fitting jobs of any scheduler. They are then
-- packed. Where some did not fit together and resources are left, that is repeated once with what is left.
-- A canceled workflow gives no jobs, and the answer says so in reason. With p_start_on the jobs become running on that
-- compute node instead, as by start_job().
-- Locks: workflow shared, the workflow's claim lock (packing must see what others took: 17,000 jobs/s, against 1,700
-- with optimistic re-packing), the candidates' rows. Raises TC404, TC403, TC422 (limit, time_limit, node).
CREATE OR REPLACE FUNCTION torc.claim_jobs_based_on_resources(
    p_workflow_id bigint,
    p_limit bigint,
    p_strict boolean,
    p_resources jsonb,
    p_caller torc.caller DEFAULT NULL,
    p_start_on bigint DEFAULT NULL,
    p_compute_node_id bigint DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_labels text[] := ARRAY(SELECT jsonb_array_elements_text(p_resources -> 'labels'));
    v_has_ready boolean := torc.lock_workflow_for_claim(p_workflow_id, p_caller, v_labels);
    v_label_sets text[];
    v_time_limit_s bigint;
    v_any_scheduler boolean;
    v_candidates bigint[];
    v_locked bigint[];
    v_empty torc.worker_pool := torc.worker_pool(p_resources);
    v_pool torc.worker_pool;
BEGIN
    IF p_limit NOT BETWEEN 0 AND 100000 THEN
        PERFORM torc.fail(
            'TC422',
            format('limit must be from 0 to 100000, got %s', p_limit),
            jsonb_build_object('field', 'limit', 'value', p_limit)
        );
    END IF;
    IF p_start_on IS NOT NULL THEN
        PERFORM torc.check_start_on(p_workflow_id, p_start_on);
    ELSIF p_compute_node_id IS NOT NULL THEN
        PERFORM torc.authorize_node_reference(p_workflow_id, p_compute_node_id, p_caller);
    END IF;
    IF NOT v_has_ready
        AND (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = p_workflow_id)
    THEN
        RETURN json_build_object('jobs', '[]'::json, 'reason', 'Workflow is canceled');
    END IF;
    IF p_resources ->> 'time_limit' IS NOT NULL THEN
        v_time_limit_s := torc.parse_duration(p_resources ->> 'time_limit', 'time_limit');
    END IF;
    IF NOT v_has_ready THEN
        RETURN json_build_object('jobs', '[]'::json);
    END IF;
    PERFORM pg_advisory_xact_lock(~p_workflow_id);
    v_label_sets := CASE WHEN v_labels = '{}' THEN ARRAY[''] ELSE torc.label_sets(p_workflow_id, v_labels) END;
    LOOP
        v_any_scheduler := false;
        v_candidates := torc.pick_fitting_jobs(p_workflow_id, p_limit, v_empty, v_time_limit_s, false, v_label_sets);
        IF v_candidates = '{}' AND NOT p_strict THEN
            v_any_scheduler := true;
            v_candidates := torc.pick_fitting_jobs(p_workflow_id, p_limit, v_empty, v_time_limit_s, true, v_label_sets);
        END IF;
        v_locked := ARRAY(
            SELECT id FROM torc.job WHERE id = ANY (v_candidates) AND status = 'ready' FOR UPDATE SKIP LOCKED
        );
        EXIT WHEN v_locked <> '{}' OR v_candidates = '{}';
        -- claim_next_jobs or a transition holds them all: wait for the first, then repeat the query. Wait only while
        -- holding no row locks; otherwise two callers could deadlock.
        PERFORM 1 FROM torc.job WHERE id = v_candidates[1] AND status = 'ready' FOR UPDATE;
    END LOOP;
    v_pool := torc.pack_jobs(v_locked, v_empty);
    IF cardinality(v_candidates) < p_limit OR cardinality(v_pool.job_ids) = p_limit OR v_pool.nodes = 0 THEN
        -- All that fitted were candidates, or the worker has what it asked for.
        RETURN json_build_object('jobs', torc.claim_locked_jobs(v_pool.job_ids, p_start_on, p_compute_node_id));
    END IF;
    RETURN json_build_object('jobs', torc.backfill(
        p_workflow_id, p_limit - cardinality(v_pool.job_ids), v_pool, v_time_limit_s, v_any_scheduler, v_label_sets,
        p_start_on, p_compute_node_id
    ));
END
$$;

-- Claims the jobs of a pool, and up to p_limit more that fit into the rest of it.
CREATE OR REPLACE FUNCTION torc.backfill(
    p_workflow_id bigint,
    p_limit bigint,
    p_pool torc.worker_pool,
    p_time_limit_s bigint,
    p_any_scheduler boolean,
    p_label_sets text[],
    p_start_on bigint,
    p_compute_node_id bigint
)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    -- first, so that the query below does not find them
    v_answer jsonb := torc.claim_locked_jobs(p_pool.job_ids, p_start_on, p_compute_node_id);
    v_candidates bigint[];
BEGIN
    p_pool.job_ids := '{}';
    v_candidates := torc.pick_fitting_jobs(
        p_workflow_id, p_limit, p_pool, p_time_limit_s, p_any_scheduler, p_label_sets
    );
    p_pool := torc.pack_jobs(
        ARRAY(SELECT id FROM torc.job WHERE id = ANY (v_candidates) AND status = 'ready' FOR UPDATE SKIP LOCKED), p_pool
    );
    RETURN v_answer || torc.claim_locked_jobs(p_pool.job_ids, p_start_on, p_compute_node_id)::jsonb;
END
$$;

-- The resources that a claim names, with nothing taken of them.
CREATE OR REPLACE FUNCTION torc.worker_pool(p_resources jsonb)
RETURNS torc.worker_pool
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    v_pool torc.worker_pool;
BEGIN
    v_pool.scheduler_config_id := p_resources ->> 'scheduler_config_id';
    v_pool.nodes := p_resources ->> 'num_nodes';
    v_pool.node_cpus := p_resources ->> 'num_cpus';
    v_pool.node_gpus := p_resources ->> 'num_gpus';
    v_pool.node_memory := torc.gigabytes_to_bytes((p_resources ->> 'memory_gb')::float8);
    v_pool.used_cpus := 0;
    v_pool.used_gpus := 0;
    v_pool.used_memory := 0;
    v_pool.job_ids := '{}';
    RETURN v_pool;
END
$$;

-- The first p_limit ready jobs in claim order whose requirements fit, pinned to no scheduler or to the asking one, or
-- to any if p_any_scheduler. First which requirements the ready jobs use (a walk over the index, one step each), then
-- the first jobs of every fitting one: a filter on the jobs themselves reads all that do not fit (22 claims/s against
-- 6,700).
-- The plan is cached: planning on every call took 700 µs of a claim's 1,250. It may be made while the table is nearly
-- empty, when all plans cost the same. So sorting and sequential scans are off, and each ORDER BY names all columns of
-- the wanted index. BETWEEN x AND x is used instead of = x, because with equality the planner drops the column from the
-- order, and may take an index that reads jobs of other schedulers or requirements first.
CREATE OR REPLACE FUNCTION torc.pick_fitting_jobs(
    p_workflow_id bigint,
    p_limit bigint,
    p_pool torc.worker_pool,
    p_time_limit_s bigint,
    p_any_scheduler boolean,
    p_label_sets text[]
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
    v_scheduler_config_id bigint := p_pool.scheduler_config_id;
    v_nodes bigint := p_pool.nodes;
    -- What one job of one node may take: what is left of the nodes that are shared, but no more than one node has.
    v_cpus numeric := least(p_pool.node_cpus, p_pool.nodes * p_pool.node_cpus - p_pool.used_cpus);
    v_gpus numeric := least(p_pool.node_gpus, p_pool.nodes * p_pool.node_gpus - p_pool.used_gpus);
    v_memory numeric := least(p_pool.node_memory, p_pool.nodes * p_pool.node_memory - p_pool.used_memory);
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE used (labels, id) AS (
            SELECT
                wanted.labels,
                (
                    SELECT resource_requirements_id
                    FROM torc.job
                    WHERE workflow_id = p_workflow_id AND status = 'ready'
                        AND labels BETWEEN wanted.labels AND wanted.labels
                    ORDER BY labels, resource_requirements_id, priority DESC, id
                    LIMIT 1
                )
            FROM unnest(p_label_sets) AS wanted (labels)
            UNION ALL
            SELECT
                used.labels,
                (
                    SELECT resource_requirements_id
                    FROM torc.job
                    WHERE workflow_id = p_workflow_id AND status = 'ready'
                        AND labels = used.labels AND resource_requirements_id > used.id
                    ORDER BY resource_requirements_id, priority DESC, id
                    LIMIT 1
                )
            FROM used
            WHERE used.id IS NOT NULL
        ),

        fitting AS (
            SELECT used.labels, requirements.*
            FROM used
            CROSS JOIN LATERAL (SELECT * FROM torc.resource_requirements WHERE id = used.id OFFSET 0) AS requirements
            WHERE requirements.memory_bytes <= v_memory
                AND requirements.num_cpus <= v_cpus
                AND requirements.num_gpus <= v_gpus
                AND requirements.num_nodes <= v_nodes
                AND requirements.runtime_s <= coalesce(p_time_limit_s, 9223372036854775807)
        )

        SELECT first_jobs.id
        FROM fitting
        CROSS JOIN LATERAL (
            (
                SELECT id, priority
                FROM torc.job
                WHERE NOT p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND labels = fitting.labels AND resource_requirements_id = fitting.id AND scheduler_id IS NULL
                ORDER BY scheduler_id, priority DESC, id
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT id, priority
                FROM torc.job
                WHERE NOT p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND labels = fitting.labels AND resource_requirements_id = fitting.id
                    AND scheduler_id BETWEEN v_scheduler_config_id AND v_scheduler_config_id
                ORDER BY scheduler_id, priority DESC, id
                LIMIT p_limit
            )
            UNION ALL
            (
                SELECT id, priority
                FROM torc.job
                WHERE p_any_scheduler AND workflow_id = p_workflow_id AND status = 'ready'
                    AND labels = fitting.labels AND resource_requirements_id BETWEEN fitting.id AND fitting.id
                ORDER BY resource_requirements_id, priority DESC, id
                LIMIT p_limit
            )
        ) AS first_jobs
        ORDER BY
            first_jobs.priority DESC, fitting.num_gpus DESC, fitting.runtime_s DESC, fitting.memory_bytes DESC,
            fitting.num_cpus DESC, first_jobs.id
        LIMIT p_limit
    );
END
$$;

-- Packs candidates into a worker's nodes, once through in claim order; returns the pool with those that fit. A job of
-- several nodes takes whole nodes; jobs of one node share what the other nodes have together. A job that does not fit
-- is skipped; later ones are still tried.
CREATE OR REPLACE FUNCTION torc.pack_jobs(p_job_ids bigint[], p_pool torc.worker_pool)
RETURNS torc.worker_pool
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_needed bigint;
    v_left bigint;
    v_single integer;
    v_job record;
BEGIN
    FOR v_job IN
        SELECT job.id, requirements.num_cpus, requirements.num_gpus, requirements.memory_bytes, requirements.num_nodes
        FROM torc.job AS job
        CROSS JOIN LATERAL (
            SELECT * FROM torc.resource_requirements WHERE id = job.resource_requirements_id OFFSET 0
        ) AS requirements
        WHERE job.id = ANY (p_job_ids)
        ORDER BY
            job.priority DESC, requirements.num_gpus DESC, requirements.runtime_s DESC, requirements.memory_bytes DESC,
            requirements.num_cpus DESC, job.id
    LOOP
        v_needed := greatest(v_job.num_nodes, 1);
        v_single := (v_needed = 1)::integer;
        v_left := p_pool.nodes - CASE WHEN v_needed > 1 THEN v_needed ELSE 0 END;
        CONTINUE WHEN v_left < 0
            OR p_pool.used_cpus + v_single * v_job.num_cpus > v_left * p_pool.node_cpus
            OR p_pool.used_gpus + v_single * v_job.num_gpus > v_left * p_pool.node_gpus
            OR p_pool.used_memory + v_single * v_job.memory_bytes > v_left * p_pool.node_memory;
        p_pool.nodes := v_left;
        p_pool.used_cpus := p_pool.used_cpus + v_single * v_job.num_cpus;
        p_pool.used_gpus := p_pool.used_gpus + v_single * v_job.num_gpus;
        p_pool.used_memory := p_pool.used_memory + v_single * v_job.memory_bytes;
        p_pool.job_ids := p_pool.job_ids || v_job.id;
    END LOOP;
    RETURN p_pool;
END
$$;
