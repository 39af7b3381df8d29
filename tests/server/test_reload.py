"""A changed password file is in force at once, in every worker."""

import contextlib
import logging
import os
import signal
import time

import psutil
import pytest
from support import HttpClient, wait_for

from torc_server import accounts, htpasswd

OLD, NEW = "the old password", "the new password"
OLD_HASH, NEW_HASH = (htpasswd.hash_password(password, cost=4) for password in (OLD, NEW))


def write(path, text):
    """As an editor and `torc-server htpasswd` do: a new file in place of the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def auth_file(folder):
    path = folder / "htpasswd"
    path.write_text(f"alice:{OLD_HASH}\n")
    return path


@contextlib.contextmanager
def only(server, worker):
    """While this lasts, new connections reach that worker only: the others are halted."""
    others = [pid for pid in server.workers() if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: {psutil.Process(pid).status() for pid in others} <= {psutil.STATUS_STOPPED}, what="the halt")
        yield HttpClient(server.url, timeout=30)
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def answers(server, password):
    """The status that each worker answers, one after the other."""
    return list(answers_by_worker(server, password).values())


def answers_by_worker(server, password):
    found = {}
    for worker in server.workers():
        with only(server, worker) as client:
            found[worker] = client.get("/ping", user=("alice", password), status=None).status_code
            client.close()
    return found


@pytest.fixture
def server(start_server, fresh_database_url, auth_file):
    """Four workers, each of which remembers the old password."""
    server = start_server(database_url=fresh_database_url, workers=4, auth_file=auth_file, require_auth=True)
    server.wait_for_workers(4)
    assert answers(server, OLD) == [200] * 4
    return server


def test_after_the_200_of_a_reload_no_worker_takes_the_old_password_and_all_take_the_new_one(server, auth_file):
    for password, hashed, before in ((NEW, NEW_HASH, OLD), (OLD, OLD_HASH, NEW)):
        auth_file.write_text(f"alice:{hashed}\n")  # in place: same size, perhaps the same time stamp
        got = server.client.post("/admin/reload-auth", user=("alice", password))
        assert got.json == {"message": "Auth credentials reloaded successfully", "user_count": 1}
        assert answers(server, before) == [401] * 4
        assert answers(server, password) == [200] * 4


def test_a_changed_file_is_in_force_without_any_reload(server, auth_file):
    write(auth_file, f"alice:{NEW_HASH}\nbob:{OLD_HASH}\n")
    assert answers(server, OLD) == [401] * 4
    assert answers(server, NEW) == [200] * 4
    server.client.get("/ping", user=("bob", OLD))


def test_sighup_reads_the_file_too(server, auth_file):
    before = set(server.workers())
    write(auth_file, f"alice:{NEW_HASH}\n")
    server.process.send_signal(signal.SIGHUP)
    server.wait_for_workers(4, without=before)
    assert answers(server, OLD) == [401] * 4
    assert answers(server, NEW) == [200] * 4


def test_a_broken_file_changes_nothing_but_for_a_new_worker_which_does_not_go_back_to_the_file_of_the_start(
    server, auth_file
):
    write(auth_file, f"alice:{NEW_HASH}\n")
    assert answers(server, NEW) == [200] * 4
    write(auth_file, "alice\n")
    assert answers(server, NEW) == [200] * 4
    before = server.workers()
    os.kill(before[0], signal.SIGKILL)
    server.wait_for_workers(4, without={before[0]})
    found = answers_by_worker(server, OLD)
    assert [found.pop(pid) for pid in before[1:]] == [401] * 3
    assert list(found.values()) == [503]
    write(auth_file, f"alice:{NEW_HASH}\n")
    assert answers(server, NEW) == [200] * 4
    assert "line 1 has no colon" in server.log.read_text()


# In one process


def test_without_a_file_there_is_nothing_to_reload(client):
    assert client.post("/admin/reload-auth", status=500).json["error"] == {
        "error": "NoAuthFile",
        "message": "No auth file configured. Start the server with --auth-file to enable auth reloading.",
    }


BROKEN = {
    "line 1 has no colon": "alice",
    "it names no user": "# nobody\n",
    "line 2 has no name": f"a:{OLD_HASH}\n:{OLD_HASH}",
    "line 1: the hash is not of bcrypt": "alice:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
    "it is not UTF-8": b"\xff:x",
    "cannot read it: No such file or directory": None,
}


@pytest.mark.parametrize("told", BROKEN)
def test_a_file_that_cannot_be_used_is_said_so_once_in_the_log_and_the_users_stay(make_client, auth_file, told, caplog):
    content = BROKEN[told]
    client = make_client(auth_file=auth_file)
    if content is None:
        auth_file.unlink()
    else:
        auth_file.write_bytes(content if isinstance(content, bytes) else content.encode())
    got = client.post("/admin/reload-auth", status=500).json["error"]
    assert got["error"] == "ReloadFailed"
    assert got["message"].startswith(f"Failed to reload htpasswd file: {told}")
    assert OLD_HASH not in got["message"]
    assert "SHA" not in got["message"]
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            client.get("/ping", user=("alice", OLD))
    assert caplog.text.count(told) <= 1


def test_under_access_control_a_reload_needs_a_system_administrator(make_client, auth_file, database):
    client = make_client(auth_file=auth_file, enforce_access_control=True)
    auth_file.write_text(f"alice:{OLD_HASH}\nann:{OLD_HASH}\n")
    database.execute("SELECT torc.synchronize_admins('{ann}')")
    try:
        got = client.post("/admin/reload-auth", status=403)
        assert got.json["error"]["message"] == "Anonymous access not allowed for admin operations"
        got = client.post("/admin/reload-auth", user=("alice", OLD), status=403)
        assert got.json["error"]["message"] == "User is not a system administrator"
        assert client.post("/admin/reload-auth", user=("ann", OLD)).json["user_count"] == 2
    finally:
        database.execute("DELETE FROM torc.access_group WHERE name = 'admin'")


def test_a_change_that_leaves_the_status_as_it_was_is_seen_while_the_file_is_young(auth_file, monkeypatch):
    monkeypatch.setattr(accounts, "_stamp_of", lambda status: "the clock of files ticks every few milliseconds")
    found = accounts.Accounts(auth_file, 60)
    auth_file.write_text(f"alice:{NEW_HASH}\n")
    assert found.table().users == {"alice": NEW_HASH}


def test_a_file_that_has_not_changed_for_a_while_is_not_opened_for_each_request(auth_file, monkeypatch):
    monkeypatch.setattr(accounts, "SETTLED_AFTER", 0)
    time.sleep(0.05)
    found = accounts.Accounts(auth_file, 60)
    monkeypatch.setattr(found, "_load", None)
    table = found.table()
    assert found.table() is table
    monkeypatch.undo()
    auth_file.chmod(0o600)  # another status, the same content: what is remembered stays
    assert found.table() is table


def test_where_the_status_lags_behind_a_password_not_remembered_is_verified_against_the_file_itself(
    auth_file, monkeypatch
):
    monkeypatch.setattr(accounts, "SETTLED_AFTER", 0)
    time.sleep(0.05)
    found = accounts.Accounts(auth_file, 60)
    stamp = found._stamp
    monkeypatch.setattr(accounts, "_stamp", lambda path: stamp)
    write(auth_file, f"alice:{NEW_HASH}\n")
    assert found.table().users == {"alice": OLD_HASH}
    assert found.table(thorough=True).users == {"alice": NEW_HASH}
