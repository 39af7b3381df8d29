-- The dashboard's pages of compute nodes and of the server.

-- Compute nodes of the workflows that the caller may see and that are not archived: {"total", "nodes"}, the newest
-- first; p_active: only active ones; p_silent_s: seconds without a sign of life after which a node is silent. A node
-- has its running jobs (up to 5, and how many), how many jobs it has claimed, and its workflow.
CREATE OR REPLACE FUNCTION torc.dashboard_nodes(
    p_active boolean,
    p_silent_s double precision,
    p_limit bigint,
    p_offset bigint,
    p_caller torc.caller
)
RETURNS jsonb
LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_custom_plan
SET enable_seqscan = off
AS $$
BEGIN
    RETURN (
        WITH visible AS MATERIALIZED (
            SELECT node.id
            FROM torc.workflow_status AS status
            CROSS JOIN LATERAL (
                SELECT id, is_active FROM torc.compute_node WHERE workflow_id = status.workflow_id OFFSET 0
            ) AS node
            WHERE NOT status.is_archived
                AND (NOT p_active OR node.is_active)
                AND torc.may_use_workflow(status.workflow_id, p_caller)
        )

        SELECT jsonb_build_object(
            'total', (SELECT count(*) FROM visible),
            'nodes', coalesce((
                SELECT jsonb_agg(torc.dashboard_node(shown.id, p_silent_s) ORDER BY shown.id DESC)
                FROM (SELECT id FROM visible ORDER BY id DESC LIMIT p_limit OFFSET p_offset) AS shown
            ), '[]')
        )
    );
END
$$;

-- One compute node for the list of nodes. p_silent_s: seconds without a request after which a node counts as silent.
CREATE OR REPLACE FUNCTION torc.dashboard_node(p_id bigint, p_silent_s double precision)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    RETURN (
        SELECT jsonb_build_object(
            'id', node.id,
            'host', node.hostname,
            'pid', node.pid,
            'is_active', coalesce(node.is_active, false),
            'is_silent', torc.is_silent(node, p_silent_s, NULL),
            'last_seen', extract(epoch FROM node.last_seen),
            'started', extract(epoch FROM torc.parse_time(node.start_time)),
            'ends', extract(epoch FROM torc.parse_time(node.end_time)),
            'cpus', node.num_cpus,
            'gpus', node.num_gpus,
            'memory_gb', node.memory_gb,
            'type', node.compute_node_type,
            'labels', node.labels,
            'peak_cpu_percent', node.peak_cpu_percent,
            'peak_memory_bytes', node.peak_memory_bytes,
            'workflow', (
                SELECT jsonb_build_object('id', id, 'name', name) FROM torc.workflow WHERE id = node.workflow_id
            ),
            'running', (
                SELECT count(*) FROM torc.job WHERE active_compute_node_id = node.id AND status = 'running'
            ),
            'claimed', (
                SELECT count(*) FROM torc.job WHERE active_compute_node_id = node.id AND status = 'pending'
            ),
            'jobs', coalesce((
                SELECT jsonb_agg(jsonb_build_object(
                    'id', job.id, 'name', job.name, 'status', job.status, 'since', extract(epoch FROM job.start_time)
                ) ORDER BY job.id)
                FROM (
                    SELECT *
                    FROM torc.job
                    WHERE active_compute_node_id = node.id AND status = 'running'
                    ORDER BY id
                    LIMIT 5
                ) AS job
            ), '[]')
        )
        FROM torc.compute_node AS node
        WHERE node.id = p_id
    );
END
$$;

-- What the page of the server says of the database: for system administrators, and where access control is not enforced
-- for all, with the requests of the last 60 minutes, groups and the newest 50 entries of the audit log. Others get only
-- the schema's version.
CREATE OR REPLACE FUNCTION torc.dashboard_server(p_caller torc.caller)
RETURNS jsonb
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_answer jsonb := jsonb_build_object('schema', (SELECT max(version) FROM torc.schema_migration), 'is_admin', false);
BEGIN
    IF p_caller.enforced AND NOT torc.is_system_admin(p_caller.name) THEN
        RETURN v_answer;
    END IF;
    RETURN v_answer || jsonb_build_object(
        'is_admin', true,
        'database', current_setting('server_version'),
        'size', pg_database_size(current_database()),
        'connections', (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
        'max_connections', current_setting('max_connections')::integer,
        'tables', (
            SELECT jsonb_object_agg(relname, jsonb_build_array(n_live_tup, n_dead_tup))
            FROM pg_stat_user_tables
            WHERE schemaname = 'torc' AND n_live_tup > 0
        ),
        'traffic', torc.api_stats(60, 60)::jsonb -> 'buckets',
        'groups', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'id', shown.id,
                'name', shown.name,
                'members', ARRAY(
                    SELECT member.user_name || CASE member.role WHEN 'admin' THEN ' (admin)' ELSE '' END
                    FROM torc.user_group_membership AS member
                    WHERE member.group_id = shown.id
                    ORDER BY 1
                    LIMIT 100
                )
            ) ORDER BY shown.name)
            FROM (SELECT * FROM torc.access_group ORDER BY name LIMIT 100) AS shown
        ), '[]'),
        'audit', coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'at', entry."timestamp" / 1000.0,
                'user', entry.user_name,
                'action', entry.action,
                'workflow_id', entry.workflow_id,
                'has_page', EXISTS (SELECT 1 FROM torc.workflow WHERE id = entry.workflow_id),
                'rows', entry.rows_affected
            ) ORDER BY entry.id DESC)
            FROM (SELECT * FROM torc.admin_audit_log ORDER BY id DESC LIMIT 50) AS entry
        ), '[]')
    );
END
$$;
