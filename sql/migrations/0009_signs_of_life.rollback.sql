-- Takes back 0009. When nodes were last heard of, and when jobs became ready and were claimed, is lost.
DROP TABLE torc.node_watch;
ALTER TABLE torc.job DROP COLUMN claimed_at, DROP COLUMN ready_at;
DROP INDEX torc.compute_node_active_idx;
ALTER TABLE torc.compute_node
    RESET (fillfactor),
    DROP COLUMN timed_out_at,
    DROP COLUMN sends_heartbeats,
    DROP COLUMN last_seen;
