-- name: begin_login(address, user_name, digest, most, window_secs)
SELECT torc.begin_login(:address, :user_name, :digest, :most, :window_secs);

-- name: forget_login(address, user_name, digest)
SELECT torc.forget_login(:address, :user_name, :digest);

-- name: authorize_admin(caller, enforced, dialect)
SELECT torc.authorize_admin((:caller, :enforced, :dialect)::torc.caller);

-- name: synchronize_admins(user_names)
SELECT torc.synchronize_admins(:user_names::text[]);
