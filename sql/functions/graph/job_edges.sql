-- The edges of one job, for statements that walk many jobs. Inlined. OFFSET keeps the planner from joining the edges of
-- all jobs at once, which it prefers when it believes that there are none.
--
-- How statements over a whole workflow stay linear, whatever the planner believes (tests/database/test_growth.py gives
-- it false statistics):
--   * rows that belong to one row are read by LATERAL or a scalar subquery, with OFFSET 0, so that it is a look-up;
--   * two sets are joined by hashing (SET enable_nestloop = off, enable_mergejoin = off), and each of them is
--     restricted by an indexed column of its table; a set made by LATERAL ends with OFFSET 0 before it is joined, or
--     the join might be done within each look-up;
--   * an index can be used only from its first column on, see migration 0005.

-- The jobs that a job depends on.
CREATE OR REPLACE FUNCTION torc.dependencies_of(p_job_id bigint)
RETURNS TABLE (job_id bigint)
LANGUAGE sql STABLE
AS $$ SELECT edge.depends_on_job_id FROM torc.job_depends_on AS edge WHERE edge.job_id = p_job_id OFFSET 0 $$;

-- The jobs that depend on a job.
CREATE OR REPLACE FUNCTION torc.dependents_of(p_job_id bigint)
RETURNS TABLE (job_id bigint)
LANGUAGE sql STABLE
AS $$ SELECT edge.job_id FROM torc.job_depends_on AS edge WHERE edge.depends_on_job_id = p_job_id OFFSET 0 $$;
