-- Takes back 0014. No data is lost.
ALTER TABLE torc.job
    ADD CONSTRAINT job_blocked_waits_for_something CHECK (status <> 'blocked' OR open_dependencies > 0),
    ADD CONSTRAINT job_canceled_by_dependency_is_canceled CHECK (status = 'canceled' OR NOT canceled_by_dependency);
