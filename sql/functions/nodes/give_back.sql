-- Gives the jobs of a compute node whose worker is gone back to other workers.

-- Gives the jobs of a compute node back, in its workflow. Running ones are retried: they are ready for their next
-- attempt, so that a late report of the worker changes nothing. Pending ones whose claim named the node become ready;
-- p_unnamed_claims: so do those of the workflow whose claim named no node, refused while other nodes are active, whose
-- they may be. The node becomes inactive; streams hear compute_node_stopped if it was active. p_dry_run: only says what
-- would be done. Returns {"compute_node_id", "workflow_id", "retried_job_ids", "ready_job_ids", "unnamed_claims": how
-- many pending jobs of the workflow are left whose claim named no node}.
-- Locks: workflow shared, the node's row, the jobs by id. Raises TC404, TC403, TC409 (other nodes are active).
CREATE OR REPLACE FUNCTION torc.give_back_jobs_of_node(
    p_node_id bigint,
    p_unnamed_claims boolean DEFAULT false,
    p_dry_run boolean DEFAULT false,
    p_caller torc.caller DEFAULT NULL
)
RETURNS jsonb
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_node torc.compute_node;
    v_job_ids bigint[];
    v_answer jsonb;
BEGIN
    PERFORM torc.lock_workflow_shared(torc.workflow_of_node(p_node_id), p_caller);
    SELECT * INTO v_node FROM torc.compute_node WHERE id = p_node_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM torc.fail('TC404', format('Compute node not found with ID: %s', p_node_id));
    END IF;
    IF p_unnamed_claims AND torc.has_other_active_nodes(v_node) THEN
        PERFORM torc.fail(
            'TC409',
            format('Other nodes of workflow %s are active: claims without a node may be theirs', v_node.workflow_id),
            '{"field": "unnamed_claims"}'
        );
    END IF;
    v_job_ids := torc.lock_jobs_of_node(
        p_node_id, v_node.workflow_id, CASE WHEN p_unnamed_claims THEN '-infinity'::double precision END
    );
    v_answer := torc.give_back_jobs(v_node.workflow_id, v_job_ids, p_dry_run, p_caller);
    v_answer := v_answer || jsonb_build_object(
        'compute_node_id', p_node_id,
        'workflow_id', v_node.workflow_id,
        'unnamed_claims', (
            SELECT count(*)
            FROM torc.job
            WHERE workflow_id = v_node.workflow_id
                AND status = 'pending'
                AND active_compute_node_id IS NULL
                AND id <> ALL (v_job_ids)
        )
    );
    IF NOT p_dry_run THEN
        PERFORM torc.record_give_back(v_node, v_answer, p_unnamed_claims, p_caller);
    END IF;
    RETURN v_answer;
END
$$;

-- Gives one job back, by the same rule. A job that is neither running nor pending is left to manage_status_change():
-- pending_failed becomes ready for the same attempt.
-- Locks: workflow shared, the job's row, dependents by id. Raises what manage_status_change() raises.
CREATE OR REPLACE FUNCTION torc.give_back_job(p_job_id bigint, p_caller torc.caller DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_job torc.job := torc.lock_job(p_job_id, p_caller);
BEGIN
    IF torc.is_active(v_job.status) THEN
        PERFORM torc.give_back_jobs(v_job.workflow_id, ARRAY[p_job_id], false, p_caller);
    ELSE
        PERFORM torc.manage_status_change(p_job_id, 'ready', NULL, p_caller);
    END IF;
END
$$;

-- Retries those of the locked jobs that are running, and makes those ready that are pending; returns which.
-- p_dry_run: only returns that.
CREATE OR REPLACE FUNCTION torc.give_back_jobs(
    p_workflow_id bigint,
    p_job_ids bigint[],
    p_dry_run boolean,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_run_id bigint := (SELECT run_id FROM torc.workflow_status WHERE workflow_id = p_workflow_id);
    v_answer jsonb := (
        SELECT jsonb_build_object(
            'retried_job_ids', coalesce(jsonb_agg(id ORDER BY id) FILTER (WHERE status = 'running'), '[]'),
            'ready_job_ids', coalesce(jsonb_agg(id ORDER BY id) FILTER (WHERE status = 'pending'), '[]')
        )
        FROM torc.job
        WHERE id = ANY (p_job_ids)
    );
BEGIN
    IF NOT p_dry_run THEN
        PERFORM torc.retry_job(id::bigint, v_run_id, 9223372036854775807, p_caller)
        FROM jsonb_array_elements(v_answer -> 'retried_job_ids') AS id;
        PERFORM torc.release_claimed_jobs(p_workflow_id, p_job_ids);
    END IF;
    RETURN v_answer;
END
$$;

-- Makes the node inactive, and stores who has given its jobs back.
CREATE OR REPLACE FUNCTION torc.record_give_back(
    p_node torc.compute_node,
    p_answer jsonb,
    p_unnamed_claims boolean,
    p_caller torc.caller
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_retried integer := jsonb_array_length(p_answer -> 'retried_job_ids');
    v_ready integer := jsonb_array_length(p_answer -> 'ready_job_ids');
BEGIN
    UPDATE torc.compute_node SET is_active = false, timed_out_at = NULL WHERE id = p_node.id;
    IF p_node.is_active THEN
        PERFORM torc.publish_event(p_node.workflow_id, 'compute_node_stopped', 'info', jsonb_build_object(
            'compute_node_id', p_node.id, 'hostname', p_node.hostname, 'pid', p_node.pid,
            'compute_node_type', p_node.compute_node_type
        ));
    END IF;
    PERFORM torc.store_user_action(p_node.workflow_id, p_caller, 'give_back_jobs_of_node', jsonb_build_object(
        'compute_node_id', p_node.id,
        'message', format(
            'Jobs of compute node %s (%s) were given back: %s retried, %s ready again', p_node.id, p_node.hostname,
            v_retried, v_ready
        )
    ));
    PERFORM torc.audit(
        p_caller, 'give_back_jobs_of_node',
        format('SELECT torc.give_back_jobs_of_node(%s, %s)', p_node.id, p_unnamed_claims), p_node.workflow_id, NULL,
        p_answer, v_retried + v_ready
    );
END
$$;

-- Whether another node of the workflow is active, to which jobs that were claimed without a node may belong.
CREATE OR REPLACE FUNCTION torc.has_other_active_nodes(n torc.compute_node)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT EXISTS (SELECT 1 FROM torc.compute_node WHERE workflow_id = n.workflow_id AND is_active AND id <> n.id)
$$;

-- Locks the running and pending jobs of a node in a workflow, by id, and returns them. p_unnamed_since: also those that
-- a claim without a node took longer than so many seconds ago; NULL: not those.
CREATE OR REPLACE FUNCTION torc.lock_jobs_of_node(
    p_id bigint,
    p_workflow_id bigint,
    p_unnamed_since double precision
)
RETURNS bigint[]
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_job_ids bigint[] := ARRAY(
        SELECT id FROM torc.job WHERE active_compute_node_id = p_id
    );
BEGIN
    IF p_unnamed_since IS NOT NULL THEN
        v_job_ids := v_job_ids || ARRAY(
            SELECT id
            FROM torc.job
            WHERE workflow_id = p_workflow_id AND status = 'pending'
            ORDER BY workflow_id, status, id
        );
    END IF;
    RETURN ARRAY(
        SELECT id
        FROM torc.job
        WHERE id = ANY (v_job_ids)
            AND workflow_id IS NOT DISTINCT FROM p_workflow_id
            AND CASE status
                WHEN 'running' THEN active_compute_node_id = p_id
                WHEN 'pending' THEN active_compute_node_id = p_id
                    OR p_unnamed_since IS NOT NULL
                    AND active_compute_node_id IS NULL
                    AND coalesce(extract(epoch FROM torc.now() - claimed_at) > p_unnamed_since, true)
                ELSE false
            END
        ORDER BY id
        FOR UPDATE
    );
END
$$;

-- Makes those of the locked jobs ready that are pending; returns them. Open streams hear of it.
CREATE OR REPLACE FUNCTION torc.release_claimed_jobs(p_workflow_id bigint, p_job_ids bigint[])
RETURNS bigint[]
LANGUAGE plpgsql
SET enable_seqscan = off
AS $$
DECLARE
    v_changes torc.status_change[];
BEGIN
    WITH released AS (
        UPDATE torc.job
        SET status = 'ready', active_compute_node_id = NULL, ready_at = torc.now()
        WHERE id = ANY (p_job_ids) AND status = 'pending'
        RETURNING id
    )

    SELECT array_agg((id, 'pending', 'ready')::torc.status_change ORDER BY id) INTO v_changes FROM released;
    PERFORM torc.publish_changes(p_workflow_id, v_changes);
    RETURN ARRAY(SELECT job_id FROM unnest(v_changes));
END
$$;
