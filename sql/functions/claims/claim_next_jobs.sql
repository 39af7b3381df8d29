-- Claims up to p_limit ready jobs of a workflow, highest priority first, then lowest id, and makes them pending.
-- A canceled workflow gives no jobs. Rows that another claim has locked are skipped. If all ready rows are locked by
-- others, the claim waits for them instead of returning nothing; it holds no row lock then, so that two claims never
-- wait for each other. If the others took them, it starts again: the answer is empty only if nothing is ready. With
-- p_start_on they become running on that compute node instead, as by start_job().
-- Locks: workflow shared, the picked job rows. Raises TC404, TC403, TC422 (the node).
-- A worker without labels gets only jobs without labels; one with labels only jobs that have labels, all among its own.
CREATE OR REPLACE FUNCTION torc.claim_next_jobs(
    p_workflow_id bigint,
    p_limit bigint,
    p_caller torc.caller DEFAULT NULL,
    p_labels text[] DEFAULT '{}',
    p_start_on bigint DEFAULT NULL,
    p_compute_node_id bigint DEFAULT NULL
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_has_ready boolean := torc.lock_workflow_for_claim(p_workflow_id, p_caller, p_labels) AND p_limit > 0;
    v_job_ids bigint[] := '{}';
BEGIN
    IF p_start_on IS NOT NULL THEN
        PERFORM torc.check_start_on(p_workflow_id, p_start_on);
    ELSIF p_compute_node_id IS NOT NULL THEN
        PERFORM torc.authorize_node_reference(p_workflow_id, p_compute_node_id, p_caller);
    END IF;
    IF v_has_ready AND p_labels <> '{}' THEN
        RETURN json_build_object(
            'jobs', torc.claim_locked_jobs(
                torc.pick_labeled_jobs(p_workflow_id, p_limit, p_labels), p_start_on, p_compute_node_id
            )
        );
    END IF;
    WHILE v_has_ready LOOP
        v_job_ids := torc.pick_ready_jobs(p_workflow_id, p_limit);
        EXIT WHEN v_job_ids <> '{}';
        v_job_ids := torc.await_ready_jobs(p_workflow_id, p_limit);
        EXIT WHEN v_job_ids <> '{}';
        v_has_ready := (
            SELECT true
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
            ORDER BY priority DESC, id
            LIMIT 1
        );
    END LOOP;
    RETURN json_build_object('jobs', torc.claim_locked_jobs(v_job_ids, p_start_on, p_compute_node_id));
END
$$;

-- Locks a workflow, shared, for a claim and returns whether there may be jobs for it: the workflow is not canceled and
-- has ready jobs, with labels for a worker with labels and without for one without.
-- Hot path of idle workers: one query for all of it (an empty claim took 90 µs, now 60, and 40 since the lock is taken
-- here). Without access control the row of the workflow's status says that there is such a workflow.
CREATE OR REPLACE FUNCTION torc.lock_workflow_for_claim(p_workflow_id bigint, p_caller torc.caller, p_labels text[])
RETURNS boolean
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_has_ready boolean;
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.lock_workflow_shared(p_workflow_id, p_caller);
    ELSIF NOT torc.try_lock_workflow_shared(p_workflow_id) THEN
        PERFORM torc.take_shared_lock(p_workflow_id);
    END IF;
    IF p_labels = '{}' THEN
        SELECT NOT is_canceled AND (
            SELECT true
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
            -- of job_ready_idx: another index of the workflow may have to read all of its jobs
            ORDER BY priority DESC, id
            LIMIT 1
        ) IS NOT NULL
        INTO v_has_ready
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id;
    ELSE
        SELECT NOT is_canceled AND (
            SELECT true
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels > ''
            ORDER BY labels, priority DESC, id
            LIMIT 1
        ) IS NOT NULL
        INTO v_has_ready
        FROM torc.workflow_status
        WHERE workflow_id = p_workflow_id;
    END IF;
    IF NOT FOUND THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    RETURN v_has_ready;
END
$$;

-- Locks the first ready jobs in claim order that a worker with labels may have. Under the workflow's claim lock, so
-- that two such workers do not pick the same jobs; waits for jobs that others have locked only while it holds none.
CREATE OR REPLACE FUNCTION torc.pick_labeled_jobs(p_workflow_id bigint, p_limit bigint, p_labels text[])
RETURNS bigint[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
DECLARE
    v_first bigint[];
    v_locked bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(~p_workflow_id);
    LOOP
        v_first := ARRAY(
            SELECT first_jobs.id
            FROM unnest(torc.label_sets(p_workflow_id, p_labels)) AS wanted (labels)
            CROSS JOIN LATERAL (
                SELECT id, priority
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready'
                    AND labels BETWEEN wanted.labels AND wanted.labels
                ORDER BY labels, priority DESC, id
                LIMIT p_limit
            ) AS first_jobs
            ORDER BY first_jobs.priority DESC, first_jobs.id
            LIMIT p_limit
        );
        v_locked := ARRAY(
            SELECT id
            FROM torc.job
            WHERE id = ANY (v_first) AND status = 'ready'
            ORDER BY priority DESC, id
            FOR UPDATE SKIP LOCKED
        );
        IF v_locked <> '{}' OR v_first = '{}' THEN
            RETURN v_locked;
        END IF;
        PERFORM 1 FROM torc.job WHERE id = v_first[1] AND status = 'ready' FOR UPDATE;
    END LOOP;
END
$$;

-- The label sets of ready jobs that are among the labels of a worker that has some. A walk over the index, one step for
-- each set.
CREATE OR REPLACE FUNCTION torc.label_sets(p_workflow_id bigint, p_labels text[])
RETURNS text[]
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        WITH RECURSIVE used (labels) AS (
            (
                SELECT labels
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels > ''
                ORDER BY labels, priority DESC, id
                LIMIT 1
            )
            UNION ALL
            SELECT (
                SELECT labels
                FROM torc.job
                WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels > used.labels
                ORDER BY labels, priority DESC, id
                LIMIT 1
            )
            FROM used
            WHERE used.labels IS NOT NULL
        )

        SELECT labels FROM used WHERE string_to_array(labels, ',') <@ p_labels
    );
END
$$;

-- Locks the first ready jobs without labels in claim order; from job_ready_idx, 2,300 claims/s with 400,000 jobs ready.
-- One plan for all limits, and no other than in the order of that index: left to itself a kept plan sorts (105 ms
-- instead of 0.14 ms), and with a plan for each call an empty claim takes 331 µs instead of 137.
CREATE OR REPLACE FUNCTION torc.pick_ready_jobs(p_workflow_id bigint, p_limit bigint)
RETURNS bigint[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
        ORDER BY priority DESC, id
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    );
END
$$;

-- Picks jobs for a claim that holds no row lock yet: waits for rows that others have locked, and takes those that stay
-- ready.
CREATE OR REPLACE FUNCTION torc.await_ready_jobs(p_workflow_id bigint, p_limit bigint)
RETURNS bigint[]
LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_sort = off
SET enable_bitmapscan = off
SET enable_seqscan = off
AS $$
BEGIN
    RETURN ARRAY(
        SELECT id
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND status = 'ready' AND labels = ''
        ORDER BY priority DESC, id
        LIMIT p_limit
        FOR UPDATE
    );
END
$$;

-- Raises TC422 unless the node is an active one of the workflow, or was given up: then it works again. It cannot be
-- deleted before the claim ends, which holds a lock of the workflow.
CREATE OR REPLACE FUNCTION torc.check_start_on(p_workflow_id bigint, p_node_id bigint)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM torc.compute_node
        WHERE id = p_node_id AND workflow_id = p_workflow_id AND (is_active OR timed_out_at IS NOT NULL)
    ) THEN
        PERFORM torc.fail(
            'TC422',
            format('start_on: there is no active compute node %s in workflow %s', p_node_id, p_workflow_id),
            jsonb_build_object('field', 'start_on', 'value', p_node_id)
        );
    END IF;
END
$$;
