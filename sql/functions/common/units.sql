-- Memory sizes and durations as clients write them. COLLATE "C": letters and digits are those of ASCII.

-- The nearest number of 64 bits.
CREATE OR REPLACE FUNCTION torc.clamp_to_64_bits(p_number numeric)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$ SELECT least(greatest(p_number, -9223372036854775808), 9223372036854775807)::bigint $$;

-- GiB to bytes, truncated; what does not fit into 64 bits is the largest or smallest number that does.
CREATE OR REPLACE FUNCTION torc.gigabytes_to_bytes(p_gigabytes double precision)
RETURNS bigint
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE
        WHEN p_gigabytes >= 8589934592 THEN 9223372036854775807
        WHEN p_gigabytes <= -8589934592 THEN -9223372036854775808
        ELSE trunc(p_gigabytes * 1073741824)::bigint
    END
$$;

-- Bytes of a memory string: digits with an optional sign, then one optional letter k, m, g or t (powers of 1024).
-- Raises TC422 with the reason, naming the field.
CREATE OR REPLACE FUNCTION torc.parse_memory(p_memory text, p_field text DEFAULT 'memory')
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE
AS $$
DECLARE
    v_text text COLLATE "C" := btrim(p_memory, E' \t\n\r\f\x0B');
    v_unit text := lower(substring(v_text FROM '[[:alpha:]]$'));
    v_number text := CASE WHEN v_unit IS NULL THEN v_text ELSE left(v_text, -1) END;
    v_bytes numeric;
    v_reason text;
BEGIN
    IF v_text = '' THEN
        v_reason := 'Memory string cannot be empty';
    ELSIF v_unit NOT IN ('k', 'm', 'g', 't') THEN
        v_reason := format('Invalid memory unit: %s', right(v_text, 1));
    ELSIF v_number !~ '^[+-]?[0-9]{1,40}$' THEN
        v_reason := format('Invalid number in memory string: %s', left(v_number, 60));
    ELSE
        v_bytes := v_number::numeric
            * CASE v_unit
                WHEN 'k' THEN 1024 WHEN 'm' THEN 1048576 WHEN 'g' THEN 1073741824 WHEN 't' THEN 1099511627776 ELSE 1
            END;
        IF v_bytes < 0 THEN
            v_reason := 'Memory size cannot be negative';
        ELSIF v_bytes > 9223372036854775807 THEN
            v_reason := 'Memory size too large, would cause overflow';
        END IF;
    END IF;
    IF v_reason IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422',
            format('Invalid %s format ''%s'': %s', p_field, left(p_memory, 60), v_reason),
            jsonb_build_object('field', p_field, 'value', p_memory)
        );
    END IF;
    RETURN v_bytes::bigint;
END
$$;

-- Seconds of an ISO 8601 duration: P[nY][nM][nD][T[nH][nM][n[.n]S]], PnW, or P and a date and time read as amounts.
-- A year is 31,557,600 s, a month 2,629,800 s; fractions of a second are dropped; PT and P1DT are valid. Whatever is
-- left over is an error, and so is a number over 32 bits. NULL for NULL. Raises TC422, naming the field; the text
-- itself only for a runtime: clients retry a claim when an error holds a word such as "network".
CREATE OR REPLACE FUNCTION torc.parse_duration(p_duration text, p_field text DEFAULT 'runtime')
RETURNS bigint
LANGUAGE plpgsql IMMUTABLE STRICT
AS $$
DECLARE
    v_text text COLLATE "C" := btrim(p_duration, E' \t\n\r\f\x0B');
    v_seconds_of bigint[] := ARRAY[31557600, 2629800, 604800, 86400, 3600, 60, 1];
    v_parts text[];
    v_total bigint := 0;
    v_reason text;
BEGIN
    v_parts := regexp_match(
        v_text, '^P(?=[0-9T])(?:(\d+)Y)?(?:(\d+)M)?()(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:[.,]\d*)?S)?)?$'
    );
    IF v_parts IS NULL THEN
        v_parts := regexp_match(v_text, '^P()()(\d+)W()()()()$');
    END IF;
    IF v_parts IS NULL THEN
        v_parts := regexp_match(v_text, '^P(\d{4})-?(\d\d)-?()(\d\d)T(\d\d):?(\d\d):?(\d\d)$');
    END IF;
    IF v_text = '' THEN
        v_reason := 'Duration string cannot be empty';
    ELSIF v_parts IS NULL THEN
        v_reason := 'Invalid ISO 8601 duration format: Failed to parse duration'
            || CASE p_field WHEN 'runtime' THEN ': ' || left(v_text, 60) ELSE '' END;
    END IF;
    FOR v_index IN 1..7 LOOP
        CONTINUE WHEN v_reason IS NOT NULL OR coalesce(v_parts[v_index], '') = '';
        IF length(ltrim(v_parts[v_index], '0')) > 10 OR v_parts[v_index]::numeric > 4294967295 THEN
            v_reason := 'a number is over 32 bits';
        ELSE
            v_total := v_total + v_parts[v_index]::bigint * v_seconds_of[v_index];
        END IF;
    END LOOP;
    IF v_reason IS NOT NULL AND p_field = 'runtime' THEN
        PERFORM torc.fail(
            'TC422',
            format('Invalid %s format ''%s'': %s', p_field, left(p_duration, 60), v_reason),
            jsonb_build_object('field', p_field, 'value', p_duration)
        );
    ELSIF v_reason IS NOT NULL THEN
        PERFORM torc.fail(
            'TC422', format('Invalid %s format: %s', p_field, v_reason), jsonb_build_object('field', p_field)
        );
    END IF;
    RETURN v_total;
END
$$;

-- An ISO 8601 duration for a number of seconds, in days, hours, minutes and seconds; PT0S for 0.
CREATE OR REPLACE FUNCTION torc.format_duration(p_seconds bigint)
RETURNS text
LANGUAGE sql IMMUTABLE STRICT
AS $$
    SELECT CASE
        WHEN p_seconds = 0 THEN 'PT0S'
        ELSE 'P'
            || coalesce(nullif(p_seconds / 86400, 0) || 'D', '')
            || CASE WHEN p_seconds % 86400 > 0 THEN 'T' ELSE '' END
            || coalesce(nullif(p_seconds % 86400 / 3600, 0) || 'H', '')
            || coalesce(nullif(p_seconds % 3600 / 60, 0) || 'M', '')
            || coalesce(nullif(p_seconds % 60, 0) || 'S', '')
    END
$$;
