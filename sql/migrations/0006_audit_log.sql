-- Who did what by hand, and when: written in the transaction of the change. Rows survive what they are about, so there
-- are no foreign keys; torc.prune_audit_log() removes old ones.
CREATE TABLE torc.admin_audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    "timestamp" bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint,  -- ms since 1970
    user_name text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,  -- such as cancel_workflow
    sql_text text COLLATE "C" NOT NULL,  -- the call, as an operator would type it
    workflow_id bigint,
    group_id bigint,
    data jsonb NOT NULL DEFAULT '{}',  -- what else the action was told
    is_write boolean NOT NULL DEFAULT true,
    allow_full_table boolean NOT NULL DEFAULT false,
    rows_affected bigint,
    committed boolean NOT NULL DEFAULT true,
    success boolean NOT NULL DEFAULT true,
    error text COLLATE "C",
    CONSTRAINT admin_audit_log_pkey PRIMARY KEY (id)
);
-- prune_audit_log().
CREATE INDEX admin_audit_log_timestamp_idx ON torc.admin_audit_log ("timestamp");
