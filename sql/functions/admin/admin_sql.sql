-- POST /admin/sql: one statement that a system administrator wrote.
--
-- It runs as the database role torc_admin_reader or torc_admin_writer. These may not log in, belong to no other role
-- and have only the rights that enable_admin_sql() grants; the server's own role may be a superuser. The statement runs
-- within a SECURITY DEFINER function that such a role owns: there PostgreSQL refuses every change of role, by SET ROLE
-- or by set_config('role', …). After a SET LOCAL ROLE instead, a SELECT could return to the server's role. What runs
-- when the transaction is committed runs as the server's role again: so reads are rolled back, and writes are
-- statements of a few kinds (torc_server/admin_sql.py), none of which leaves anything to be run then.

-- Makes the two roles if needed, grants them their rights, and makes them the owners of their functions. To be called
-- after each migration, by a superuser or a role that may create roles. Raises insufficient_privilege (42501) where
-- that is missing, or where a role of that name has rights that it must not have.
CREATE OR REPLACE FUNCTION torc.enable_admin_sql()
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_role text;
BEGIN
    PERFORM pg_advisory_xact_lock(1953460835, 3);  -- two servers that start at once
    FOREACH v_role IN ARRAY ARRAY['torc_admin_reader', 'torc_admin_writer'] LOOP
        PERFORM torc.make_admin_sql_role(v_role);
    END LOOP;
    GRANT USAGE ON SCHEMA torc TO torc_admin_reader, torc_admin_writer;
    GRANT SELECT ON ALL TABLES IN SCHEMA torc TO torc_admin_reader, torc_admin_writer;
    GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA torc TO torc_admin_writer;
    REVOKE ALL ON torc.login_attempt FROM torc_admin_reader, torc_admin_writer;
    -- Records, the version of the schema, who may do what, and what the server's processes tell each other.
    REVOKE INSERT, UPDATE, DELETE
    ON torc.admin_audit_log, torc.schema_migration, torc.access_group, torc.user_group_membership, torc.event_stream,
        torc.api_traffic, torc.api_listener, torc.api_event
    FROM torc_admin_writer;

    GRANT CREATE ON SCHEMA torc TO torc_admin_reader, torc_admin_writer;  -- what the owner of a function needs
    ALTER FUNCTION torc.read_for_admin OWNER TO torc_admin_reader;
    ALTER FUNCTION torc.write_for_admin OWNER TO torc_admin_writer;
    REVOKE CREATE ON SCHEMA torc FROM torc_admin_reader, torc_admin_writer;
    -- Not for their owners: a statement that called write_for_admin() could run any other, such as CREATE FUNCTION in
    -- the schema for temporary objects, and have that called by a deferred trigger, which runs as the server's role.
    REVOKE ALL ON FUNCTION torc.read_for_admin, torc.write_for_admin
    FROM PUBLIC, torc_admin_reader, torc_admin_writer;
    EXECUTE format('GRANT EXECUTE ON FUNCTION torc.read_for_admin, torc.write_for_admin TO %I', current_user);
    ALTER FUNCTION torc.read_for_admin SECURITY DEFINER;
    ALTER FUNCTION torc.write_for_admin SECURITY DEFINER;
END
$$;

-- Makes a role of admin SQL unless there is one. Raises 42501 for one with other rights than it must have.
CREATE OR REPLACE FUNCTION torc.make_admin_sql_role(p_role text)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF to_regrole(p_role) IS NULL THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', p_role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN NULL;  -- a server on another database has just made it
        END;
    END IF;
    IF EXISTS (
        SELECT 1
        FROM pg_roles
        WHERE rolname = p_role
            AND (rolsuper OR rolcanlogin OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
    ) OR EXISTS (SELECT 1 FROM pg_auth_members WHERE member = to_regrole(p_role)) THEN
        RAISE insufficient_privilege
            USING MESSAGE = format('role %I must not log in, have attributes or belong to other roles', p_role);
    END IF;
    IF NOT pg_has_role(current_user, p_role, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', p_role, current_user);
    END IF;
END
$$;

-- Returns the first p_limit rows of a statement, in a transaction that the caller has made read only and rolls back.
-- Raises 42501 unless it runs as torc_admin_reader, program_limit_exceeded (54000) for rows of more than p_most_bytes.
CREATE OR REPLACE FUNCTION torc.read_for_admin(p_sql text, p_limit bigint, p_most_bytes bigint)
RETURNS SETOF json
LANGUAGE plpgsql
AS $$
DECLARE
    v_row record;
    v_item json;
    v_count bigint := 0;
    v_bytes bigint := 0;
BEGIN
    PERFORM torc.expect_role('torc_admin_reader');
    FOR v_row IN EXECUTE p_sql LOOP
        v_item := row_to_json(v_row);
        v_count := v_count + 1;
        v_bytes := v_bytes + octet_length(v_item::text);
        PERFORM torc.refuse_many_bytes(v_bytes, p_most_bytes);
        RETURN NEXT v_item;
        EXIT WHEN v_count >= p_limit;
    END LOOP;
END
$$;

-- Runs a statement that may write; returns the first p_limit of the rows that it returns, and then the number of rows
-- that it has changed or returned, in row_count. p_returns_rows: whether it has columns. Raises as read_for_admin().
CREATE OR REPLACE FUNCTION torc.write_for_admin(
    p_sql text, p_returns_rows boolean, p_limit bigint, p_most_bytes bigint, OUT item json, OUT row_count bigint
)
RETURNS SETOF record
LANGUAGE plpgsql
AS $$
DECLARE
    v_row record;
    v_count bigint := 0;
    v_bytes bigint := 0;
BEGIN
    PERFORM torc.expect_role('torc_admin_writer');
    IF p_returns_rows THEN
        FOR v_row IN EXECUTE p_sql LOOP
            v_count := v_count + 1;
            CONTINUE WHEN v_count > p_limit;
            item := row_to_json(v_row);
            v_bytes := v_bytes + octet_length(item::text);
            PERFORM torc.refuse_many_bytes(v_bytes, p_most_bytes);
            RETURN NEXT;
        END LOOP;
    ELSE
        EXECUTE p_sql;
        GET DIAGNOSTICS v_count = ROW_COUNT;
    END IF;
    item := NULL;
    row_count := v_count;
    RETURN NEXT;
END
$$;

-- Raises 42501 unless the statement that calls it runs as a role: whatever has become of the function's owner.
CREATE OR REPLACE FUNCTION torc.expect_role(p_role text)
RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
    IF current_user <> p_role THEN
        RAISE insufficient_privilege USING MESSAGE = 'admin SQL is not set up in this database';
    END IF;
END
$$;

-- Raises program_limit_exceeded if the rows are larger than p_most bytes.
CREATE OR REPLACE FUNCTION torc.refuse_many_bytes(p_bytes bigint, p_most bigint)
RETURNS void
LANGUAGE plpgsql IMMUTABLE
AS $$
BEGIN
    IF p_bytes > p_most THEN
        RAISE program_limit_exceeded USING MESSAGE = format('the rows have more than %s MiB', p_most >> 20);
    END IF;
END
$$;

-- A row under other names, one for each column; columns of type bytea (by position) become hexadecimal digits.
CREATE OR REPLACE FUNCTION torc.admin_sql_item(p_row json, p_names text[], p_blobs int[])
RETURNS text
LANGUAGE sql STABLE
AS $$
    SELECT '{' || string_agg(
        to_json(p_names[position]) || ':'
            || CASE
                WHEN position = ANY (p_blobs) AND json_typeof(value) = 'string' THEN to_json(substr(value #>> '{}', 3))
                ELSE value
            END,
        ',' ORDER BY position
    ) || '}'
    FROM json_each(p_row) WITH ORDINALITY AS cell (key, value, position)
$$;

-- Stores that a caller ran a statement through POST /admin/sql. p_error: why it failed, NULL if it succeeded.
CREATE OR REPLACE FUNCTION torc.audit_admin_sql(
    p_caller torc.caller, p_sql text, p_is_write boolean, p_allow_full_table boolean, p_dry_run boolean,
    p_rows_affected bigint, p_error text
)
RETURNS void
LANGUAGE sql
AS $$
    INSERT INTO torc.admin_audit_log (
        "timestamp", user_name, action, sql_text, is_write, allow_full_table, rows_affected, committed, success, error,
        data
    )
    VALUES (
        torc.now_ms(),
        p_caller.name, 'admin_sql', p_sql, p_is_write, p_allow_full_table, p_rows_affected,
        p_is_write AND NOT p_dry_run AND p_error IS NULL, p_error IS NULL, p_error,
        CASE WHEN p_dry_run THEN jsonb_build_object('dry_run', true) ELSE '{}' END
    )
$$;
