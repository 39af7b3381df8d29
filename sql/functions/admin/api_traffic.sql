-- What the processes of servers tell each other about answered requests, for GET /admin/api-stats and
-- /admin/api-events/stream.

-- Adds up what a process has counted, {second: [request_count, bytes_in, bytes_out, 2xx, 4xx, 5xx, other]}; stores its
-- requests (numbers and JSON texts) for the streams; returns {watched, bodies, events}: whether any process has a
-- stream, whether one wants bodies, and the requests that this process has not got.
-- p_streams: whether it has a stream; NULL when it has just closed the last one. p_seen: {process: number} of the last
-- request that it got from each process; without it, it gets none, but their present numbers under the key seen.
CREATE OR REPLACE FUNCTION torc.exchange_api_traffic(
    p_process text, p_counts jsonb, p_numbers bigint[], p_events text[],
    p_streams boolean, p_wants_bodies boolean, p_seen jsonb
)
RETURNS json
LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := torc.now();
    v_found json := '{}';
BEGIN
    IF p_counts <> '{}' THEN
        PERFORM torc.count_api_traffic(p_process, p_counts);
    END IF;
    IF cardinality(p_numbers) > 0 THEN
        INSERT INTO torc.api_event (process, number, event, stored_at)
        SELECT p_process, number, event, v_now FROM unnest(p_numbers, p_events) AS told (number, event)
        ON CONFLICT DO NOTHING;  -- told again after a lost answer
    END IF;
    IF p_streams IS NULL THEN
        DELETE FROM torc.api_listener WHERE process = p_process;
    ELSIF p_streams THEN
        INSERT INTO torc.api_listener (process, wants_bodies, expires_at)
        VALUES (p_process, p_wants_bodies, v_now + interval '10 s')
        ON CONFLICT (process) DO UPDATE
        SET wants_bodies = excluded.wants_bodies, expires_at = excluded.expires_at;
        v_found := torc.hear_api_events(p_seen);
        DELETE FROM torc.api_event WHERE stored_at < v_now - interval '10 s';
        DELETE FROM torc.api_listener WHERE expires_at < v_now - interval '1 min';
    END IF;
    RETURN (
        SELECT json_build_object(
            'watched', count(*) > 0, 'bodies', coalesce(bool_or(wants_bodies), false),
            'seen', v_found -> 'seen', 'events', v_found -> 'events'
        )
        FROM torc.api_listener
        WHERE expires_at > v_now
    );
END
$$;

-- Adds up the counts of exchange_api_traffic(), and deletes those that are older than an hour.
CREATE OR REPLACE FUNCTION torc.count_api_traffic(p_process text, p_counts jsonb)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO torc.api_traffic
    SELECT
        second::bigint, p_process, (counted ->> 0)::bigint, (counted ->> 1)::bigint, (counted ->> 2)::bigint,
        (counted ->> 3)::bigint, (counted ->> 4)::bigint, (counted ->> 5)::bigint, (counted ->> 6)::bigint
    FROM jsonb_each(p_counts) AS each (second, counted)
    ON CONFLICT (second, process) DO UPDATE SET
        request_count = api_traffic.request_count + excluded.request_count,
        bytes_in = api_traffic.bytes_in + excluded.bytes_in,
        bytes_out = api_traffic.bytes_out + excluded.bytes_out,
        status_2xx = api_traffic.status_2xx + excluded.status_2xx,
        status_4xx = api_traffic.status_4xx + excluded.status_4xx,
        status_5xx = api_traffic.status_5xx + excluded.status_5xx,
        status_other = api_traffic.status_other + excluded.status_other;
    DELETE FROM torc.api_traffic
    WHERE (second, process) IN (
        SELECT second, process
        FROM torc.api_traffic
        WHERE second < extract(epoch FROM torc.now())::bigint - 3660
        ORDER BY second, process
        LIMIT 1000
        FOR UPDATE SKIP LOCKED
    );
END
$$;

-- {seen, events}: requests with numbers above those seen, and the highest numbers.
CREATE OR REPLACE FUNCTION torc.hear_api_events(p_seen jsonb)
RETURNS json
LANGUAGE sql
AS $$
    WITH new AS (
        SELECT process, number, event
        FROM torc.api_event
        WHERE number > coalesce((p_seen ->> process)::bigint, 0)
    )

    SELECT json_build_object(
        'seen', (
            SELECT coalesce(json_object_agg(process, number), '{}')
            FROM (SELECT process, max(number) AS number FROM new GROUP BY process) AS newest
        ),
        'events', CASE
            WHEN p_seen IS NULL THEN '[]'
            ELSE (SELECT coalesce(json_agg(event ORDER BY number), '[]') FROM new)
        END
    )
$$;

-- The requests of the last p_count intervals, each of p_interval seconds and beginning at a multiple of that, the
-- newest first; all processes together.
CREATE OR REPLACE FUNCTION torc.api_stats(p_interval bigint, p_count bigint)
RETURNS json
LANGUAGE plpgsql STABLE
AS $$
DECLARE
    v_now numeric := extract(epoch FROM torc.now());
    v_newest bigint := floor(v_now / p_interval) * p_interval;
    v_oldest bigint := v_newest - (p_count - 1) * p_interval;
BEGIN
    RETURN json_build_object(
        'now_ms', (v_now * 1000)::bigint,
        'interval_seconds', p_interval,
        'window_seconds', p_interval * p_count,
        'buckets', (
            SELECT json_agg(row_to_json(one) ORDER BY one.start_ms DESC)
            FROM (
                SELECT
                    start * 1000 AS start_ms,
                    coalesce(request_count, 0) AS request_count,
                    coalesce(bytes_in, 0) AS bytes_in,
                    coalesce(bytes_out, 0) AS bytes_out,
                    coalesce(status_2xx, 0) AS status_2xx,
                    coalesce(status_4xx, 0) AS status_4xx,
                    coalesce(status_5xx, 0) AS status_5xx,
                    coalesce(status_other, 0) AS status_other
                FROM generate_series(v_oldest, v_newest, p_interval) AS bucket (start)
                LEFT JOIN (
                    SELECT
                        second / p_interval * p_interval AS start,
                        sum(request_count) AS request_count, sum(bytes_in) AS bytes_in, sum(bytes_out) AS bytes_out,
                        sum(status_2xx) AS status_2xx, sum(status_4xx) AS status_4xx, sum(status_5xx) AS status_5xx,
                        sum(status_other) AS status_other
                    FROM torc.api_traffic
                    WHERE second >= v_oldest
                    GROUP BY 1
                ) AS counted USING (start)
            ) AS one
        )
    );
END
$$;
