-- Takes back 0004. attempt_id stays as it is; which run raised it is lost.
ALTER TABLE torc.job DROP COLUMN attempt_run_id;
