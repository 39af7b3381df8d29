-- Takes back 0003. Nothing is lost.
ALTER TABLE torc.result
    ADD CONSTRAINT result_job_id_fkey FOREIGN KEY (job_id) REFERENCES torc.job ON DELETE CASCADE;
ALTER TABLE torc.job
    DROP COLUMN has_dependencies,
    DROP COLUMN has_links,
    ALTER COLUMN open_dependencies TYPE integer,
    ALTER COLUMN failed_dependencies TYPE integer,
    ALTER COLUMN priority TYPE bigint,
    ADD CONSTRAINT job_open_dependencies_not_negative CHECK (open_dependencies >= 0),
    ADD CONSTRAINT job_failed_dependencies_not_negative CHECK (failed_dependencies >= 0),
    ADD CONSTRAINT job_priority_not_negative CHECK (priority >= 0);
DROP DOMAIN torc.not_negative_integer;
DROP DOMAIN torc.not_negative_bigint;
