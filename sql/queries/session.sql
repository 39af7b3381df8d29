-- name: allow_long_statement(timeout)
-- For the rest of the transaction: the statement may take that long, and waits for its locks all the time.
SELECT set_config('statement_timeout', :timeout, true), set_config('lock_timeout', '0', true),
    set_config('torc.try_locks', 'off', true);

-- name: wait_for_locks(milliseconds)
-- For the rest of the transaction: locks are waited for, that of a workflow too.
SELECT set_config('torc.try_locks', 'off', true), set_config('lock_timeout', :milliseconds, true);

-- name: apply_settings(settings, local)
-- For the session, or with local for the transaction.
SELECT count(set_config(key, value, :local)) FROM json_each_text(:settings::json);

-- name: commit_later()
-- Until make_durable(): a commit does not wait until PostgreSQL's log is written.
SELECT
    set_config('torc.synchronous_commit', current_setting('synchronous_commit'), false),
    set_config('synchronous_commit', 'off', false);

-- name: make_durable()
-- Returns when all that was committed is as durable as a commit is by the settings. A commit that holds a message makes
-- PostgreSQL write its log. It is not needed when another session has had the log written meanwhile, unless a standby
-- must have it too. On a standby there is nothing to be written.
SELECT
    set_config('synchronous_commit', current_setting('torc.synchronous_commit'), false),
    CASE
        WHEN pg_is_in_recovery() THEN NULL
        WHEN pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()
            OR current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'torc', '')
    END;

-- name: backend_pid()
SELECT pg_backend_pid();

-- name: is_writable()
-- Not on a standby, nor where an administrator has set the database to read only.
SELECT NOT current_setting('transaction_read_only')::boolean;

-- name: encoding()
SELECT current_setting('server_encoding');
