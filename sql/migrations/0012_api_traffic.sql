-- What the server's processes, on whatever host, tell each other about the requests that they answer. Unlogged: a crash
-- of the database ends the counts and the streams.

-- How many requests each process answered in each of the last seconds; kept for an hour.
CREATE UNLOGGED TABLE torc.api_traffic (
    second bigint NOT NULL,  -- since 1970
    process text COLLATE "C" NOT NULL,
    request_count bigint NOT NULL,
    bytes_in bigint NOT NULL,
    bytes_out bigint NOT NULL,
    status_2xx bigint NOT NULL,
    status_4xx bigint NOT NULL,
    status_5xx bigint NOT NULL,
    status_other bigint NOT NULL,
    CONSTRAINT api_traffic_pkey PRIMARY KEY (second, process)
);

-- The processes that have an open stream of requests; no process stores a request while there is none.
CREATE UNLOGGED TABLE torc.api_listener (
    process text COLLATE "C" NOT NULL,
    wants_bodies boolean NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT api_listener_pkey PRIMARY KEY (process)
);

-- Requests on their way to the streams; kept for seconds. Each process numbers its own.
CREATE UNLOGGED TABLE torc.api_event (
    process text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    event text COLLATE "C" NOT NULL,  -- JSON
    stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT api_event_pkey PRIMARY KEY (process, number)
);
