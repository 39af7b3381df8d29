-- Pages of jobs are filled up, and new versions of their rows go elsewhere.
ALTER TABLE torc.job RESET (fillfactor);
