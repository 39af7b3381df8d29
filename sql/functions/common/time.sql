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

-- A time as it goes on the wire, without quotation marks. Inlined.
CREATE OR REPLACE FUNCTION torc.time_json(p_time timestamptz)
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT to_char(p_time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
$$;

-- Seconds from now to a time, not below 0.
CREATE OR REPLACE FUNCTION torc.seconds_until(p_time timestamptz)
RETURNS bigint
LANGUAGE sql STABLE STRICT
AS $$
    SELECT greatest(trunc(extract(epoch FROM p_time - torc.now())), 0)::bigint
$$;

-- The time that a text of a client says, taken as UTC where it names no zone; NULL if it cannot be read.
CREATE OR REPLACE FUNCTION torc.parse_time(p_text text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET timezone = 'UTC'
AS $$
BEGIN
    IF p_text !~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}' THEN
        RETURN NULL;
    END IF;
    RETURN p_text::timestamptz;
EXCEPTION
    WHEN data_exception THEN
        RETURN NULL;
END
$$;
