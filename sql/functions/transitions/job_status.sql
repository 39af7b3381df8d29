-- The two sets of statuses that the rules of the graph speak of. All of these are inlined into the calling statement.

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

-- Whether the dependents of a job that moves from one status to the other have to count anew.
CREATE OR REPLACE FUNCTION torc.changes_dependency_counts(p_old torc.job_status, p_new torc.job_status)
RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT torc.is_complete(p_old) <> torc.is_complete(p_new) OR torc.is_failed(p_old) <> torc.is_failed(p_new) $$;
