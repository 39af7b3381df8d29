-- What `torc-server doctor` asks.

-- name: postgres()
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::int AS version_number,
    inet_server_addr() IS NULL AS is_local,
    extract(epoch FROM clock_timestamp())::float8 AS clock,
    current_setting('max_connections')::int
    - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true), '0')::int AS max_connections,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
    pg_database_size(current_database()) AS size,
    (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS frozen_age,
    pg_is_in_recovery() AS is_standby;

-- name: settings()
-- The settings that matter, as a new session of this role has them.
SELECT name, setting, source, coalesce(sourcefile, '') AS file, pending_restart
FROM pg_settings
WHERE name IN (
    'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts', 'default_transaction_isolation',
    'default_transaction_read_only', 'statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout',
    'TimeZone', 'log_timezone', 'max_locks_per_transaction', 'zero_damaged_pages', 'synchronous_standby_names',
    'wal_level', 'ignore_checksum_failure', 'data_checksums'
)
ORDER BY name;

-- name: tables()
SELECT
    relname,
    n_live_tup,
    n_dead_tup,
    coalesce(greatest(last_vacuum, last_autovacuum) > now() - interval '10 minutes', false) AS was_vacuumed_just_now
FROM pg_stat_user_tables
WHERE schemaname = 'torc'
ORDER BY relname;

-- name: old_transactions()
SELECT pid, coalesce(usename, '') AS user_name, coalesce(application_name, '') AS program, state,
    extract(epoch FROM clock_timestamp() - xact_start)::float8 AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < clock_timestamp() - interval '15 minutes'
    AND backend_type = 'client backend' AND pid <> pg_backend_pid()
ORDER BY xact_start;

-- name: prepared_transactions()
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts
WHERE database = current_database() AND prepared < clock_timestamp() - interval '15 minutes';

-- name: idle_slots()
SELECT slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
FROM pg_replication_slots
WHERE NOT active AND restart_lsn IS NOT NULL
ORDER BY slot_name;

-- name: violations()
SELECT job.workflow_id, broken.job_id, broken.violation
FROM torc.check_invariants() AS broken
LEFT JOIN torc.job AS job ON job.id = broken.job_id;

-- name: repair_counters(workflow_id)
SELECT torc.repair_counters(:workflow_id);

-- name: lost_jobs(silent)
SELECT * FROM torc.find_lost_jobs(:silent);

-- name: objects(schema)
-- All that a release defines in its schema: what it is, its name, its definition. In names and definitions the schema
-- is called torc.
SELECT kind, replace(name, :schema || '.', 'torc.'), replace(definition, :schema || '.', 'torc.')
FROM (
    SELECT
        CASE relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' ELSE 'table' END AS kind,
        format('torc.%%s', relname) AS name,
        relpersistence::text || coalesce(array_to_string(reloptions, ','), '') AS definition
    FROM pg_class
    WHERE relnamespace = :schema::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT
        'column', format('torc.%%s.%%s', relname, attname),
        concat_ws(
            ' ', format_type(atttypid, atttypmod), CASE WHEN attnotnull THEN 'NOT NULL' END,
            'DEFAULT ' || pg_get_expr(adbin, adrelid), nullif(attidentity::text, ''),
            (
                SELECT 'COLLATE ' || collname
                FROM pg_collation
                WHERE pg_collation.oid = attcollation AND collname <> 'default'
            )
        )
    FROM pg_attribute
    INNER JOIN pg_class ON pg_class.oid = attrelid AND relkind IN ('r', 'p', 'c')
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE relnamespace = :schema::regnamespace AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT
        'index', format('torc.%%s', indexed.relname),
        pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' (invalid)' END
    FROM pg_index
    INNER JOIN pg_class AS indexed ON indexed.oid = indexrelid
    WHERE indexed.relnamespace = :schema::regnamespace
        AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT
        'constraint', format('torc.%%s.%%s', coalesce(relname, typname), conname),
        pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint
    LEFT JOIN pg_class ON pg_class.oid = conrelid
    LEFT JOIN pg_type ON pg_type.oid = contypid
    WHERE connamespace = :schema::regnamespace AND contype <> 'n'
    UNION ALL
    SELECT
        'type', format('torc.%%s', typname),
        coalesce(
            (SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = pg_type.oid),
            format_type(typbasetype, typtypmod)
        )
    FROM pg_type
    WHERE typnamespace = :schema::regnamespace AND typtype IN ('e', 'd')
    UNION ALL
    SELECT
        'function', format('torc.%%s(%%s)', proname, pg_get_function_identity_arguments(pg_proc.oid)),
        pg_get_functiondef(pg_proc.oid)
    FROM pg_proc
    WHERE pronamespace = :schema::regnamespace AND prokind IN ('f', 'p')
        AND NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = pg_proc.oid AND deptype = 'e'
        )
    UNION ALL
    SELECT 'trigger', format('torc.%%s.%%s', relname, tgname), pg_get_triggerdef(pg_trigger.oid)
    FROM pg_trigger
    INNER JOIN pg_class ON pg_class.oid = tgrelid
    WHERE relnamespace = :schema::regnamespace AND NOT tgisinternal
) AS found (kind, name, definition)
WHERE name NOT LIKE 'torc.schema_migration%%';
