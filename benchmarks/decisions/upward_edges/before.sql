-- All edges are read to see whether one points to a higher id.
DROP INDEX torc.job_depends_on_upward_idx;
