-- The locks of a transition, in the order in which every function takes them:
--   1. the workflow, shared or exclusive, never upgraded (an advisory lock; key: the workflow's id);
--   2. for claims by resources, the workflow's claim lock (key: the complement of the id);
--   3. the job's own row, then dependents by id, then action rows by id.
-- Each is a separate statement: work in the statement that waited would see the state from before the wait.
-- A workflow's lock is only tried while torc.try_locks is on, and is waited for, up to lock_timeout, otherwise: a
-- caller that does not get it raises 55P03 with DETAIL shared or exclusive, having done nothing, and what asks again or
-- waits is decided outside. (An attempt costs 2 µs more than the lock itself.) All of them check existence and access
-- after the wait; they raise TC404 and TC403. Under access control they check before, too, so that a caller without
-- access neither waits for a lock nor makes others wait.

-- Locks a workflow, shared: for transitions of single jobs and claims, which row locks keep apart.
CREATE OR REPLACE FUNCTION torc.lock_workflow_shared(p_workflow_id bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    PERFORM torc.take_shared_lock(p_workflow_id);
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
END
$$;

-- Locks a workflow exclusively: for all that reads or changes edges, or many jobs at once.
CREATE OR REPLACE FUNCTION torc.lock_workflow(p_workflow_id bigint, p_caller torc.caller)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
    END IF;
    PERFORM torc.take_exclusive_lock(p_workflow_id);
    PERFORM torc.authorize_workflow(p_workflow_id, p_caller);
END
$$;

-- Takes the shared lock of a workflow. Raises 55P03 instead of waiting while torc.try_locks is on.
CREATE OR REPLACE FUNCTION torc.take_shared_lock(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(current_setting('torc.try_locks', true), '') <> 'on' THEN
        PERFORM pg_advisory_xact_lock_shared(p_workflow_id);
    ELSIF NOT pg_try_advisory_xact_lock_shared(p_workflow_id) THEN
        RAISE lock_not_available USING MESSAGE = 'the workflow is locked', DETAIL = 'shared';
    END IF;
END
$$;

-- Takes a workflow's shared lock if that needs no wait; returns whether it has. Inlined: hot calls try it before they
-- call take_shared_lock(), which is plpgsql.
CREATE OR REPLACE FUNCTION torc.try_lock_workflow_shared(p_workflow_id bigint)
RETURNS boolean
LANGUAGE sql
AS $$ SELECT pg_try_advisory_xact_lock_shared(p_workflow_id) $$;

-- Takes the exclusive lock of a workflow. Raises 55P03 instead of waiting while torc.try_locks is on.
CREATE OR REPLACE FUNCTION torc.take_exclusive_lock(p_workflow_id bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF coalesce(current_setting('torc.try_locks', true), '') <> 'on' THEN
        PERFORM pg_advisory_xact_lock(p_workflow_id);
    ELSIF NOT pg_try_advisory_xact_lock(p_workflow_id) THEN
        RAISE lock_not_available USING MESSAGE = 'the workflow is locked', DETAIL = 'exclusive';
    END IF;
END
$$;

-- Locks the job's workflow, shared, and returns its id. Without access control the job's row says that the workflow
-- exists.
CREATE OR REPLACE FUNCTION torc.lock_workflow_of_job_shared(p_job_id bigint, p_caller torc.caller)
RETURNS bigint
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := torc.workflow_of_job(p_job_id);
BEGIN
    IF p_caller.enforced THEN
        PERFORM torc.lock_workflow_shared(v_workflow_id, p_caller);
    ELSE
        PERFORM torc.take_shared_lock(v_workflow_id);
    END IF;
    RETURN v_workflow_id;
END
$$;

-- Locks the job's workflow, shared, and the job's row, and returns it.
CREATE OR REPLACE FUNCTION torc.lock_job(p_job_id bigint, p_caller torc.caller)
RETURNS torc.job
LANGUAGE plpgsql
AS $$
DECLARE
    v_workflow_id bigint := torc.lock_workflow_of_job_shared(p_job_id, p_caller);
    v_job torc.job;
BEGIN
    SELECT * INTO v_job FROM torc.job WHERE id = p_job_id FOR UPDATE;
    IF NOT FOUND THEN  -- deleted during the wait
        PERFORM torc.authorize_workflow(v_workflow_id, p_caller);
        PERFORM torc.fail('TC404', format('Job not found with ID: %s', p_job_id));
    END IF;
    RETURN v_job;
END
$$;
