-- Takes back 0006; what was done by hand is no longer on record.
DROP TABLE torc.admin_audit_log;
