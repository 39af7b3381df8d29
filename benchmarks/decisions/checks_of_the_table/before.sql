-- The two CHECKs that migration 0014 dropped: each statement that touches a row of the table parses them.
ALTER TABLE torc.job
    ADD CONSTRAINT job_blocked_waits_for_something CHECK (status <> 'blocked' OR open_dependencies > 0),
    ADD CONSTRAINT job_canceled_by_dependency_is_canceled CHECK (status = 'canceled' OR NOT canceled_by_dependency);
