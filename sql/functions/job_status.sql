-- The two sets of statuses that the rules of the graph speak of. Both are inlined into the calling statement.

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
