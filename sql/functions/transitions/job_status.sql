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

-- Open: neither complete nor disabled, so that the workflow is not complete. is_finished() and
-- trigger_workflow_complete() search for these in ranges of the index.
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
