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

-- name: backend_pid()
SELECT pg_backend_pid();

-- name: is_writable()
-- Not on a standby, nor where an administrator has set the database to read only.
SELECT NOT current_setting('transaction_read_only')::boolean;

-- name: encoding()
SELECT current_setting('server_encoding');
