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
LANGUAGE plpgsql STABLE STRICT
AS $$
BEGIN
    RETURN greatest(trunc(extract(epoch FROM p_time - torc.now())), 0);
END
$$;

-- The time that a text of a client says; NULL for one that does not begin with a date such as 2026-01-31, or whose year
-- begins with 0 (some programs write 0001-01-01 for no time). Raises data_exception for one that begins so and is no
-- time. The caller has SET timezone = 'UTC', which holds for texts without a zone. Inlined. This is the rule for all
-- times that clients send as text; parse_time() and time_in() follow it.
CREATE OR REPLACE FUNCTION torc.read_time(p_text text)
RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT CASE WHEN p_text LIKE '____-__-__%' AND p_text COLLATE "C" >= '1' AND p_text COLLATE "C" < ':' THEN
        p_text::timestamptz
    END
$$;

-- The time that a text of a client says; NULL for all that is none, in UTC for every caller. See read_time(). It takes
-- a subtransaction, 1 to 2 µs.
CREATE OR REPLACE FUNCTION torc.parse_time(p_text text)
RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT
SET timezone = 'UTC'
AS $$
BEGIN
    RETURN torc.read_time(p_text);
EXCEPTION
    WHEN data_exception THEN
        RETURN NULL;
END
$$;

-- One of many times: read_time() if p_is_plain, otherwise parse_time(). A function that reads thousands first tries the
-- former, a third of the work, and takes the latter after a data_exception. Inlined.
CREATE OR REPLACE FUNCTION torc.time_in(p_text text, p_is_plain boolean)
RETURNS timestamptz
LANGUAGE sql STABLE
AS $$ SELECT CASE WHEN p_is_plain THEN torc.read_time(p_text) ELSE torc.parse_time(p_text) END $$;
