-- Signs of life of compute nodes, and what becomes of the jobs of a node that gives none.
-- A sign of life is a request that names the node: start, complete, claim, a result, an action, its own row, a
-- heartbeat. Servers collect them and store them every few seconds (note_nodes), so that no such request pays for it.

-- Stores that nodes were heard of just now. p_working: those among them that started a job; where such a node has been
-- given up, it is active again. Rows that others have locked are skipped: they are heard of again.
CREATE OR REPLACE FUNCTION torc.note_nodes(p_ids bigint[], p_working bigint[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
BEGIN
    UPDATE torc.compute_node AS node
    SET
        last_seen = torc.now(),
        is_active = node.is_active OR node.id = ANY (p_working) AND torc.comes_back(node),
        timed_out_at = CASE
            WHEN node.id = ANY (p_working) AND torc.comes_back(node) THEN NULL
            ELSE node.timed_out_at
        END
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM torc.compute_node
        WHERE id = ANY (p_ids)
        ORDER BY id
        FOR NO KEY UPDATE SKIP LOCKED
    ));
END
$$;

-- Whether a node that works again was given up: no request has said since that it has stopped.
CREATE OR REPLACE FUNCTION torc.comes_back(n torc.compute_node)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT n.timed_out_at IS NOT NULL
        AND NOT (SELECT is_canceled FROM torc.workflow_status WHERE workflow_id = n.workflow_id)
$$;

-- A worker says that it lives: at once, and from now on its silence alone counts (see is_silent). A node that was given
-- up is active again. Returns the node, NULL if there is none. Locks its row. Raises TC403.
CREATE OR REPLACE FUNCTION torc.heartbeat(p_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
    v_node torc.compute_node;
BEGIN
    SELECT * INTO v_node FROM torc.compute_node WHERE id = p_id;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM torc.authorize_workflow(v_node.workflow_id, p_caller);
    UPDATE torc.compute_node AS node
    SET
        last_seen = torc.now(),
        sends_heartbeats = true,
        is_active = node.is_active OR torc.comes_back(node),
        timed_out_at = CASE WHEN NOT torc.comes_back(node) THEN node.timed_out_at END
    WHERE id = p_id
    RETURNING * INTO v_node;
    RETURN torc.compute_node_json(v_node);
END
$$;

-- Whether a node has been silent for p_timeout seconds. p_watched_since: since when servers listen. A node that sends
-- no heartbeats may be silent for as long as its running jobs have asked for: their runner sends nothing while they
-- run.
CREATE OR REPLACE FUNCTION torc.is_silent(
    n torc.compute_node,
    p_timeout double precision,
    p_watched_since timestamptz
)
RETURNS boolean
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
BEGIN
    RETURN n.is_active
        AND extract(epoch FROM torc.now() - greatest(n.last_seen, p_watched_since)) > p_timeout
        AND (
            n.sends_heartbeats
            OR NOT EXISTS (
                SELECT 1
                FROM torc.job
                WHERE active_compute_node_id = n.id
                    AND status = 'running'
                    AND extract(epoch FROM torc.now() - start_time) - p_timeout <= (
                        SELECT runtime_s FROM torc.resource_requirements WHERE id = job.resource_requirements_id
                    )
            )
        );
END
$$;

-- The silent nodes, up to 1000, each with the workflows of its jobs, its own last: what give_up_node() is to be called
-- for. Nothing while another server asks, or if one has asked less than p_every seconds ago. Silence counts only while
-- servers ask: after a break of more than two turns and 5 s, as of a stop or of a database that was away, it counts
-- from zero. So it does for a node that has not been heard of at all. Locks: an advisory lock (two-int keys), rows of
-- nodes.
CREATE OR REPLACE FUNCTION torc.find_silent_nodes(p_timeout double precision, p_every double precision)
RETURNS TABLE (compute_node_id bigint, workflow_id bigint)
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_now timestamptz := torc.now();
    v_watched_since timestamptz;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1953460835, 4)
        OR EXISTS (SELECT 1 FROM torc.node_watch WHERE swept_at > v_now - make_interval(secs => 0.9 * p_every))
    THEN
        RETURN;
    END IF;
    INSERT INTO torc.node_watch AS watch (watched_since, swept_at)
    VALUES (v_now, v_now)
    ON CONFLICT (id) DO UPDATE
    SET
        swept_at = v_now,
        watched_since = CASE
            WHEN watch.swept_at < v_now - make_interval(secs => 2 * p_every + 5) THEN v_now
            ELSE watch.watched_since
        END
    RETURNING watched_since INTO v_watched_since;
    UPDATE torc.compute_node
    SET last_seen = v_now
    WHERE id = ANY (ARRAY(
        SELECT id
        FROM torc.compute_node
        WHERE is_active AND last_seen IS NULL
        ORDER BY id
        FOR NO KEY UPDATE SKIP LOCKED
    ));
    RETURN QUERY
    WITH silent AS MATERIALIZED (
        SELECT node.id, node.workflow_id AS own_workflow_id
        FROM torc.compute_node AS node
        WHERE node.is_active AND torc.is_silent(node, p_timeout, v_watched_since)
        ORDER BY node.id
        LIMIT 1000
    )

    SELECT silent.id, concerned.workflow_id
    FROM silent
    CROSS JOIN LATERAL (
        SELECT job.workflow_id
        FROM torc.job AS job
        WHERE job.active_compute_node_id = silent.id AND torc.is_active(job.status)
        UNION
        SELECT silent.own_workflow_id
    ) AS concerned
    ORDER BY silent.id, concerned.workflow_id = silent.own_workflow_id, concerned.workflow_id;
END
$$;

-- Gives up a node in a workflow, if it is still silent. Its running jobs fail (pending_failed, if the workflow uses
-- that) with a result of return code -128, as if a runner had reported it: dependents, actions and events follow. (A
-- user who knows that the node is dead has its jobs retried instead, by give_back_jobs_of_node().) Its
-- pending jobs become ready: those whose claim named the node, and, when no other node of the workflow is active, those
-- that were claimed longer than p_timeout ago by a claim that named none. In its own workflow it becomes inactive, and
-- an event is stored that names it; streams hear compute_node_timed_out. Returns that event's data, NULL if nothing was
-- done. Jobs that refuse the result, because their attempt has another one, are left running and named in it.
-- Locks: workflow shared, the node's row, the jobs by id, dependents by id, action rows by id. Raises TC404.
CREATE OR REPLACE FUNCTION torc.give_up_node(p_id bigint, p_workflow_id bigint, p_timeout double precision)
RETURNS jsonb
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_node torc.compute_node;
    v_unnamed_since double precision;
    v_job_ids bigint[];
    v_ready_ids bigint[];
    v_answer json;
    v_event jsonb;
BEGIN
    PERFORM torc.lock_workflow_shared(p_workflow_id, NULL);
    SELECT * INTO v_node FROM torc.compute_node WHERE id = p_id FOR NO KEY UPDATE;
    IF NOT FOUND OR NOT torc.is_silent(v_node, p_timeout, (SELECT watched_since FROM torc.node_watch)) THEN
        RETURN NULL;
    END IF;
    IF v_node.workflow_id = p_workflow_id THEN
        UPDATE torc.compute_node SET is_active = false, timed_out_at = torc.now() WHERE id = p_id;
        v_unnamed_since := CASE WHEN NOT torc.has_other_active_nodes(v_node) THEN p_timeout END;
    END IF;
    v_job_ids := torc.lock_jobs_of_node(p_id, p_workflow_id, v_unnamed_since);
    v_answer := torc.fail_jobs_of_node(v_node, p_workflow_id, v_job_ids);
    v_ready_ids := torc.release_claimed_jobs(p_workflow_id, v_job_ids);
    v_event := jsonb_strip_nulls(jsonb_build_object(
        'category', 'compute_node',
        'event_type', 'compute_node_timed_out',
        'compute_node_id', p_id,
        'hostname', v_node.hostname,
        'pid', v_node.pid,
        'last_seen', to_char(v_node.last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'failed_job_ids', v_answer -> 'completed',
        'left_job_ids', nullif(
            (SELECT jsonb_agg(error -> 'job_id') FROM json_array_elements(v_answer -> 'errors') AS error), '[]'
        ),
        'ready_job_ids', to_jsonb(v_ready_ids),
        'message', format(
            'Compute node %s (%s, pid %s) has been silent for %s s: %s running jobs failed, %s pending jobs are ready '
            'again',
            p_id, v_node.hostname, v_node.pid,
            floor(extract(epoch FROM torc.now() - v_node.last_seen)),
            json_array_length(v_answer -> 'completed'), cardinality(v_ready_ids)
        )
    ));
    INSERT INTO torc.event (workflow_id, "timestamp", data) VALUES (p_workflow_id, torc.now_ms(), v_event);
    PERFORM torc.publish_event(p_workflow_id, 'compute_node_timed_out', 'warning', jsonb_build_object(
        'category', 'compute_node', 'compute_node_id', p_id, 'hostname', v_node.hostname, 'pid', v_node.pid,
        'last_seen', v_event -> 'last_seen', 'message', v_event -> 'message'
    ));
    RETURN v_event;
END
$$;

-- Completes those of the locked jobs that are running. Answers as batch_complete_jobs().
CREATE OR REPLACE FUNCTION torc.fail_jobs_of_node(p_node torc.compute_node, p_workflow_id bigint, p_job_ids bigint[])
RETURNS json
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_status torc.job_status := CASE
        WHEN (SELECT use_pending_failed FROM torc.workflow WHERE id = p_workflow_id) THEN 'pending_failed'
        ELSE 'failed'
    END;
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
BEGIN
    RETURN torc.batch_complete_jobs(p_workflow_id, coalesce(
        (
            SELECT jsonb_agg(jsonb_build_object(
                'job_id', id,
                'status', v_status,
                'run_id', v_run_id,
                'result', jsonb_build_object(
                    'job_id', id,
                    'workflow_id', workflow_id,
                    'run_id', v_run_id,
                    'attempt_id', attempt_id,
                    'compute_node_id', p_node.id,
                    'return_code', -128,
                    'exec_time_minutes', coalesce(extract(epoch FROM torc.now() - start_time) / 60, 0),
                    'completion_time', to_char(torc.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                    'status', v_status
                )
            ) ORDER BY id)
            FROM torc.job
            WHERE id = ANY (p_job_ids) AND status = 'running'
        ),
        '[]'
    ));
END
$$;
