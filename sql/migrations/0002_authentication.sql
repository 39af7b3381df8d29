-- Passwords that were tried, so that guessing is slowed down in all workers of all servers together.
-- Unlogged: after a crash of the database, counting starts again.
CREATE UNLOGGED TABLE torc.login_attempt (
    address text COLLATE "C" NOT NULL,
    user_name text COLLATE "C" NOT NULL,
    -- A digest of the password under a key that only the server's processes know. The same wrong password sent again
    -- and again, by runners that have an old one, counts once.
    digest bytea NOT NULL,
    expires_at timestamptz NOT NULL,
    CONSTRAINT login_attempt_pkey PRIMARY KEY (address, user_name, digest)
);
-- Removal of the expired ones in torc.begin_login().
CREATE INDEX login_attempt_expires_at_idx ON torc.login_attempt (expires_at);
