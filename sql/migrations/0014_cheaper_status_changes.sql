-- What every change of a status pays for.

-- A CHECK of a table is parsed by each statement that touches a row: two of them took 7 to 13 % of a start
-- (benchmarks/decisions/checks_of_the_table). check_invariants() finds the same, and with it every test.
ALTER TABLE torc.job
    DROP CONSTRAINT job_blocked_waits_for_something,
    DROP CONSTRAINT job_canceled_by_dependency_is_canceled;
