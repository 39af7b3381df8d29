-- When each compute node was last heard of, and when each job became ready and was claimed.

ALTER TABLE torc.compute_node
    ADD COLUMN last_seen timestamptz,  -- the last request that named the node; up to 10 s late; NULL: none
    ADD COLUMN sends_heartbeats boolean NOT NULL DEFAULT false,
    ADD COLUMN timed_out_at timestamptz,  -- given up as silent, and not heard of since; NULL: no
    -- Room beside each row: last_seen changes often, and is in no index, so that the new version stays on the page.
    SET (fillfactor = 80);
-- The nodes that may be silent.
CREATE INDEX compute_node_active_idx ON torc.compute_node (id) WHERE is_active;

ALTER TABLE torc.job
    ADD COLUMN ready_at timestamptz,  -- when the job last became ready; NULL: before version 9
    ADD COLUMN claimed_at timestamptz;  -- when it was last claimed; NULL: never, or before version 9

-- At most one row: since when servers have looked for silent nodes without a break.
CREATE TABLE torc.node_watch (
    id boolean NOT NULL DEFAULT true,
    watched_since timestamptz NOT NULL,
    swept_at timestamptz NOT NULL,
    CONSTRAINT node_watch_pkey PRIMARY KEY (id),
    CONSTRAINT node_watch_one_row CHECK (id)
);
