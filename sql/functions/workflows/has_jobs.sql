-- Whether a workflow has jobs of a set of statuses, and how many it has of each, by ranges of the index
-- job_workflow_id_status_idx; tests/transitions/test_statuses.py compares the ranges with the sets of job_status.sql.

-- Whether a workflow has jobs of the statuses from one to the other, as job_status declares them. The order is that of
-- the index, which finds the first one: another index of the workflow may have to read all of its jobs.
CREATE OR REPLACE FUNCTION torc.has_jobs_between(p_workflow_id bigint, p_first torc.job_status, p_last torc.job_status)
RETURNS boolean
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT true
        FROM torc.job
        WHERE workflow_id = p_workflow_id AND status BETWEEN p_first AND p_last
        ORDER BY status, id
        LIMIT 1
    ) IS NOT NULL;
END
$$;

-- Whether a workflow has jobs of one status.
CREATE OR REPLACE FUNCTION torc.has_jobs(p_workflow_id bigint, p_status torc.job_status)
RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT torc.has_jobs_between(p_workflow_id, p_status, p_status) $$;

-- Whether a workflow has open jobs (is_open).
CREATE OR REPLACE FUNCTION torc.has_open_jobs(p_workflow_id bigint)
RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT torc.has_jobs_between(p_workflow_id, 'uninitialized', 'running')
        OR torc.has_jobs(p_workflow_id, 'pending_failed')
$$;

-- Whether a workflow has active jobs (is_active).
CREATE OR REPLACE FUNCTION torc.has_active_jobs(p_workflow_id bigint)
RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT torc.has_jobs_between(p_workflow_id, 'pending', 'running') $$;

-- Whether a workflow has jobs under way: ready, or active (is_active).
CREATE OR REPLACE FUNCTION torc.has_jobs_under_way(p_workflow_id bigint)
RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT torc.has_jobs_between(p_workflow_id, 'ready', 'running') $$;

-- Whether a workflow has failed jobs (is_failed).
CREATE OR REPLACE FUNCTION torc.has_failed_jobs(p_workflow_id bigint)
RETURNS boolean
LANGUAGE sql STABLE
AS $$ SELECT torc.has_jobs_between(p_workflow_id, 'failed', 'terminated') $$;

-- The ranges of the statuses that are open (is_open) and not blocked.
CREATE OR REPLACE FUNCTION torc.unblocked_ranges()
RETURNS TABLE (first_status torc.job_status, last_status torc.job_status)
LANGUAGE sql IMMUTABLE
AS $$
    VALUES
        ('uninitialized'::torc.job_status, 'uninitialized'::torc.job_status),
        ('ready', 'running'),
        ('pending_failed', 'pending_failed')
$$;

-- How many jobs a workflow has of each status, one row for every status. They are read once: a scan for each status
-- takes a tenth less, but may use another index, and then reads all jobs each time. Inlined. The caller has
-- SET enable_nestloop = off, so that they are counted before the join.
CREATE OR REPLACE FUNCTION torc.jobs_by_status(p_workflow_id bigint)
RETURNS TABLE (status torc.job_status, jobs bigint)
LANGUAGE sql STABLE
AS $$
    SELECT word, coalesce(counted.jobs, 0)
    FROM unnest(enum_range(NULL::torc.job_status)) AS word
    LEFT JOIN (
        SELECT job.status, count(*) AS jobs FROM torc.job AS job WHERE job.workflow_id = p_workflow_id GROUP BY 1
    ) AS counted ON counted.status = word
$$;
