-- The sets of statuses that rules name; tests/transitions/test_statuses.py compares them with their twins in Python.
-- All functions of this file are inlined into the calling statement, so that indexes on job.status serve them.

-- Complete: satisfies dependents.
CREATE OR REPLACE FUNCTION torc.is_complete(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('completed', 'failed', 'canceled', 'terminated') $$;

-- Failed: complete, and cancels the dependents that asked for it.
CREATE OR REPLACE FUNCTION torc.is_failed(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('failed', 'canceled', 'terminated') $$;

-- Terminal: complete, or failed with the decision about a retry still to come. What a worker may report.
CREATE OR REPLACE FUNCTION torc.is_terminal(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('completed', 'failed', 'canceled', 'terminated', 'pending_failed') $$;

-- Unsuccessful: terminal, but not completed. What reset_job_status() resets if it is to reset failed jobs only.
CREATE OR REPLACE FUNCTION torc.is_unsuccessful(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('failed', 'canceled', 'terminated', 'pending_failed') $$;

-- Went wrong: unsuccessful because of the job itself, not because somebody or a dependency canceled it.
CREATE OR REPLACE FUNCTION torc.went_wrong(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('failed', 'terminated', 'pending_failed') $$;

-- Ended by itself: the command came to its end, whatever it returned.
CREATE OR REPLACE FUNCTION torc.ended_by_itself(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('completed', 'failed') $$;

-- Open: neither complete nor disabled, so that the workflow is not complete.
CREATE OR REPLACE FUNCTION torc.is_open(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('uninitialized', 'blocked', 'ready', 'pending', 'running', 'pending_failed') $$;

-- Waiting: open, and no worker has had it since it was initialized or retried.
CREATE OR REPLACE FUNCTION torc.is_waiting(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('uninitialized', 'blocked', 'ready') $$;

-- Active: a worker has claimed it (pending) or runs it.
CREATE OR REPLACE FUNCTION torc.is_active(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('pending', 'running') $$;

-- Initialized: initialize_jobs() or what came after it has set the status.
CREATE OR REPLACE FUNCTION torc.is_initialized(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status NOT IN ('uninitialized', 'disabled') $$;

-- Restartable: initialize_jobs() makes it ready if nothing is open that it depends on.
CREATE OR REPLACE FUNCTION torc.is_restartable(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('uninitialized', 'pending', 'running', 'terminated', 'pending_failed') $$;

-- Retryable: retry_job() accepts it.
CREATE OR REPLACE FUNCTION torc.is_retryable(p_status torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT p_status IN ('running', 'failed', 'terminated') $$;

-- Whether a move from one status to the other changes the counters of the job's dependents.
CREATE OR REPLACE FUNCTION torc.changes_dependency_counts(p_old torc.job_status, p_new torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT torc.is_complete(p_old) <> torc.is_complete(p_new) OR torc.is_failed(p_old) <> torc.is_failed(p_new) $$;
