-- What GET /metrics says of the database, as JSON. What it costs is bounded whatever the tables hold: it reads the
-- newest 10,000 workflows that are not archived, and counts at most 100,000 jobs of a status, by
-- job_workflow_id_status_idx; the rest is the system's own statistics. Reads without locks.
-- oldest_ready: for how many seconds the longest-waiting of the first ready jobs of the workflows has been ready (the
-- one with the lowest id of each). nodes: how many are active, for how many seconds the most silent of them has been
-- silent; of the newest 10,000.
CREATE OR REPLACE FUNCTION torc.server_metrics()
RETURNS json
LANGUAGE plpgsql STABLE
SET enable_seqscan = off
AS $$
DECLARE
    v_workflow_ids bigint[] := ARRAY(
        SELECT workflow_id FROM torc.workflow_status WHERE NOT is_archived ORDER BY workflow_id DESC LIMIT 10000
    );
BEGIN
    RETURN json_build_object(
        'version', (SELECT max(version) FROM torc.schema_migration),
        'size', pg_database_size(current_database()),
        'jobs', torc.count_jobs(v_workflow_ids, 100000),
        'oldest_ready', (
            SELECT max(extract(epoch FROM torc.now() - job.ready_at))
            FROM unnest(v_workflow_ids) AS workflow (workflow_id)
            CROSS JOIN LATERAL (
                SELECT ready_at
                FROM torc.job
                WHERE job.workflow_id = workflow.workflow_id AND status = 'ready'
                ORDER BY workflow_id, status, id
                LIMIT 1
            ) AS job
        ),
        'nodes', (
            SELECT json_build_array(count(*), max(extract(epoch FROM torc.now() - last_seen)))
            FROM (SELECT last_seen FROM torc.compute_node WHERE is_active ORDER BY id DESC LIMIT 10000) AS active
        ),
        'tables', (
            SELECT json_object_agg(relname, json_build_array(n_live_tup, n_dead_tup))
            FROM pg_stat_user_tables
            WHERE schemaname = 'torc'
                AND relname IN ('job', 'job_depends_on', 'result', 'event', 'workflow_status', 'compute_node')
        ),
        'oldest_transaction', (
            SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0)
            FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
        ),
        'connections', (SELECT numbackends FROM pg_stat_database WHERE datname = current_database()),
        'max_connections', current_setting('max_connections')::int,
        'replication_lag', (  -- seconds; of standbys that have caught up it is unset while nothing is written
            SELECT json_object_agg(standby, lag)
            FROM (
                SELECT application_name AS standby, max(extract(epoch FROM coalesce(replay_lag, interval '0'))) AS lag
                FROM pg_stat_replication
                WHERE state IS NOT NULL
                GROUP BY application_name
                ORDER BY application_name
                LIMIT 20
            ) AS standbys
        )
    );
END
$$;

-- {status: how many jobs of these workflows have it, p_limit at most}.
CREATE OR REPLACE FUNCTION torc.count_jobs(p_workflow_ids bigint[], p_limit bigint)
RETURNS json
LANGUAGE sql STABLE
SET enable_seqscan = off
AS $$
    SELECT json_object_agg(wanted.status, counted.number)
    FROM unnest(enum_range(NULL::torc.job_status)) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT count(*) AS number
        FROM (
            SELECT
            FROM unnest(p_workflow_ids) AS workflow (workflow_id)
            INNER JOIN torc.job AS job ON job.workflow_id = workflow.workflow_id AND job.status = wanted.status
            LIMIT p_limit
        ) AS first_ones
    ) AS counted
$$;
