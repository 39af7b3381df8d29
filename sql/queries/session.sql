-- name: allow_long_statement(timeout)
SELECT set_config('statement_timeout', :timeout, true);
