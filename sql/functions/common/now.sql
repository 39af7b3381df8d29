-- The present moment, for all rules that depend on time. It goes on during a transaction, so that what waited for a
-- lock does not get the time from before its wait. Inlined into the calling statement, where it costs nothing more than
-- clock_timestamp(). Tests replace it to move the time (tests/helpers/clock.py).
CREATE OR REPLACE FUNCTION torc.now()
RETURNS timestamptz
LANGUAGE sql VOLATILE
AS $$ SELECT clock_timestamp() $$;

-- The present moment in ms since 1970, as events and the audit log store it. Inlined.
CREATE OR REPLACE FUNCTION torc.now_ms()
RETURNS bigint
LANGUAGE sql VOLATILE
AS $$ SELECT (extract(epoch FROM torc.now()) * 1000)::bigint $$;
