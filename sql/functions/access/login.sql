-- Stores that a password is about to be verified; returns NULL, or the seconds to wait if p_most different ones have
-- failed within p_window_secs for that user from that address. It is stored before it is verified, so that many
-- attempts at once cannot exceed the limit; forget_login() deletes a password that was right.
-- Locks: an advisory lock per address and user (two-int keys: it never meets a workflow's lock).
CREATE OR REPLACE FUNCTION torc.begin_login(
    p_address text, p_user_name text, p_digest bytea, p_most int, p_window_secs double precision
)
RETURNS double precision
LANGUAGE plpgsql
AS $$
DECLARE
    v_now timestamptz := torc.now();
    v_others int;
    v_first timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(2, hashtext(p_address || ' ' || p_user_name));
    DELETE FROM torc.login_attempt WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM torc.login_attempt WHERE expires_at < v_now LIMIT 100 FOR UPDATE SKIP LOCKED
    ));
    SELECT count(*), min(expires_at) INTO v_others, v_first
    FROM torc.login_attempt
    WHERE address = p_address AND user_name = p_user_name AND digest <> p_digest AND expires_at >= v_now;
    IF v_others >= p_most THEN
        RETURN extract(epoch FROM v_first - v_now);
    END IF;
    INSERT INTO torc.login_attempt (address, user_name, digest, expires_at)
    VALUES (p_address, p_user_name, p_digest, v_now + make_interval(secs => p_window_secs))
    ON CONFLICT (address, user_name, digest) DO UPDATE SET expires_at = excluded.expires_at;
    RETURN NULL;
END
$$;

-- Deletes a password that was right. The wrong ones stay, because the owner's logins must not help an attacker.
CREATE OR REPLACE FUNCTION torc.forget_login(p_address text, p_user_name text, p_digest bytea)
RETURNS void
LANGUAGE sql
AS $$
    DELETE FROM torc.login_attempt WHERE address = p_address AND user_name = p_user_name AND digest = p_digest
$$;
