"""HTTP Basic against a password file: who is somebody, who is nobody, who is refused, who has to wait."""

import base64
import logging
import multiprocessing
import os
import re
import statistics
import threading
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import bcrypt
import psycopg
import pytest
from support import basic, wait_for
from torc import make_api
from torc.openapi_client.models.workflow_model import WorkflowModel

from torc_server import accounts, auth, htpasswd, migrations, throttle
from torc_server.settings import Settings, SettingsError

PASSWORD = "correct horse battery staple"
HASH = htpasswd.hash_password(PASSWORD, cost=4)
ALICE = ("alice", PASSWORD)
REALM = 'Basic realm="Torc"'


@pytest.fixture
def auth_file(tmp_path):
    """alice, bob and an account named anonymous, all with the same password."""
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\n\n alice : {HASH} \nbob:{HASH}\nanonymous:{HASH}\n")
    return path


@pytest.fixture(autouse=True)
def no_earlier_logins(database):
    database.execute("TRUNCATE torc.login_attempt")


@pytest.fixture
def verified(monkeypatch):
    """The passwords that bcrypt verifies from now on."""
    passwords = []
    original = bcrypt.checkpw

    def checkpw(password, hashed):
        passwords.append(password)
        return original(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    return passwords


def owner(client, **arguments):
    """Whose a workflow becomes that says it is somebody-else's."""
    answer = client.post("/workflows", json={"name": "w", "user": "somebody-else"}, **arguments).json
    assert client.get(f"/workflows/{answer['id']}", **arguments).json["user"] == answer["user"]
    return answer["user"]


def wrong(client, user="alice", password="wrong", address="192.0.2.1", status=401):
    headers = {"X-Forwarded-For": address}  # in memory there is no peer, as on a unix socket
    return client.get("/ping", user=(user, password), headers=headers, status=status)


# Who is who


def test_without_a_password_file_nobody_looks_at_credentials(make_client):
    client = make_client()
    assert owner(client) == "somebody-else"
    assert owner(client, user=("alice", "whatever")) == "somebody-else"


@pytest.mark.parametrize("require_auth", [False, True])
def test_with_the_right_password_a_workflow_belongs_to_the_user_whatever_the_body_says(
    make_client, auth_file, require_auth
):
    assert owner(make_client(auth_file=auth_file, require_auth=require_auth), user=ALICE) == "alice"


@pytest.mark.parametrize("require_auth", [False, True])
@pytest.mark.parametrize(
    "user",
    [
        ("alice", "wrong"),
        ("alice", ""),
        ("carol", PASSWORD),
        ("", PASSWORD),
        ("Alice", PASSWORD),
        ("#", "x"),
        ("alice", PASSWORD + " "),
        ("alice", "\N{SNOWMAN}" * 50),
        ("n" * 3000, "x"),
    ],
)
def test_wrong_credentials_are_401_whether_or_not_they_are_needed(make_client, auth_file, require_auth, user):
    got = make_client(auth_file=auth_file, require_auth=require_auth).get("/ping", user=user, status=401)
    assert got.json == {"error": {"error": "Unauthorized", "message": "Wrong user name or password"}}
    assert got.headers["www-authenticate"] == REALM
    assert got.headers["x-content-type-options"] == "nosniff"


MALFORMED = {
    "no base64": "Basic alice:secret",
    "no padding": "Basic " + base64.b64encode(b"alice:x").decode().rstrip("="),
    "no ASCII": "Basic \xe4\xf6",
    "no colon": "Basic " + base64.b64encode(b"alice").decode(),
    "a NUL": "Basic " + base64.b64encode(b"al\0ice:x").decode(),
    "nothing behind it": "Basic ",
    "the scheme alone": "basic",
}


@pytest.mark.parametrize("require_auth", [False, True])
@pytest.mark.parametrize("header", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_header_that_cannot_be_read_is_401_and_says_so(make_client, auth_file, header, require_auth):
    client = make_client(auth_file=auth_file, require_auth=require_auth)
    got = client.post("/workflows", json={"name": "w", "user": "u"}, headers={"Authorization": header}, status=401)
    assert got.json["error"]["error"] == "Unauthorized"
    assert got.json["error"]["message"].startswith("The Authorization header cannot be read: ")
    assert got.headers["www-authenticate"] == REALM
    assert owner(make_client(), headers={"Authorization": header}) == "somebody-else"  # without a file nobody reads it


@pytest.mark.parametrize(
    "header",
    [
        basic(*ALICE).replace("Basic", "basic"),
        basic(*ALICE).replace("Basic", "BASIC"),
        basic(*ALICE).replace(" ", "  "),
    ],
)
def test_the_scheme_may_be_written_in_any_case_and_followed_by_spaces(make_client, auth_file, header):
    assert owner(make_client(auth_file=auth_file), headers={"Authorization": header}) == "alice"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_and_passwords_may_be_utf_8_or_latin_1(make_client, tmp_path, encoding):
    path = tmp_path / "htpasswd"
    path.write_text(f"jürgen:{htpasswd.hash_password('schön & gut', cost=4)}\n")
    token = base64.b64encode("jürgen:schön & gut".encode(encoding)).decode()
    assert owner(make_client(auth_file=path), headers={"Authorization": f"Basic {token}"}) == "jürgen"


@pytest.mark.parametrize("header", ["", "Bearer " + basic(*ALICE).split()[1], "Negotiate abc", "x"])
def test_a_header_of_another_scheme_counts_as_none(make_client, auth_file, header):
    headers = {"Authorization": header} if header else {}
    assert owner(make_client(auth_file=auth_file), headers=headers) == "somebody-else"
    got = make_client(auth_file=auth_file, require_auth=True).get("/ping", headers=headers, status=401)
    assert got.headers["www-authenticate"] == REALM
    assert got.json["error"]["error"] == "Unauthorized"


def test_the_account_anonymous_is_let_in_and_is_nobody(make_client, auth_file):
    client = make_client(auth_file=auth_file, require_auth=True)
    user = ("anonymous", PASSWORD)
    assert owner(client, user=user) == "somebody-else"
    enforcing = make_client(auth_file=auth_file, require_auth=True, enforce_access_control=True)
    workflow = client.post("/workflows", json={"name": "w", "user": "anonymous"}, user=user).json["id"]
    assert "Anonymous" in enforcing.get(f"/workflows/{workflow}", user=user, status=403).text


@pytest.mark.parametrize(
    "method, path",
    [
        ("GET", "/ping"),
        ("GET", "/version"),
        ("GET", "/nowhere"),
        ("DELETE", "/ping"),
        ("GET", "/jobs/x"),
        ("POST", "/jobs"),
        ("OPTIONS", "/ping"),
        ("POST", "/admin/reload-auth"),
    ],
)
def test_when_required_everything_wants_credentials_even_what_does_not_exist(make_client, auth_file, method, path):
    make_client(auth_file=auth_file, require_auth=True).request(method, path, status=401)


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_open_even_with_a_wrong_password(make_client, auth_file, path):
    client = make_client(auth_file=auth_file, require_auth=True, enforce_access_control=True)
    assert client.get(path, prefix="").json == {"status": "ok"}
    assert client.get(path, prefix="", user=("alice", "wrong")).json == {"status": "ok"}
    client.request("HEAD", path, prefix="")
    client.post(path, prefix="", status=401)
    client.get(path, status=401)


def test_a_server_without_its_schema_or_its_database_is_alive_and_not_ready(make_client, monkeypatch):
    client = make_client()
    monkeypatch.setattr(migrations, "_migrations", lambda: {10_000: None})
    got = client.get("/readyz", prefix="", status=503)
    assert got.json["error"]["error"] == "ServiceUnavailable"
    monkeypatch.setattr("torc_server.database.CONNECT_SECONDS", 0)
    client.app.extensions["database"].close()
    client.app.extensions["database"].conninfo = "host=/nowhere"
    assert client.get("/readyz", prefix="", status=503).json["error"]["error"] == "ServiceUnavailable"
    assert client.get("/healthz", prefix="").json == {"status": "ok"}


# Hashes


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2x$", "$2y$"])
def test_every_kind_of_bcrypt_hash_is_understood(make_client, tmp_path, prefix):
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{prefix}{HASH[4:]}\n")
    client = make_client(auth_file=path)
    assert owner(client, user=ALICE) == "alice"
    client.get("/ping", user=("alice", "wrong"), status=401)


def test_of_a_password_the_first_72_bytes_count(make_client, tmp_path):
    path = tmp_path / "htpasswd"
    long = "ä" * 36
    path.write_text(f"alice:{htpasswd.hash_password(long + ' and more', cost=4)}\n")
    client = make_client(auth_file=path)
    for password in (long, long + " and something else", long + "ä"):
        assert owner(client, user=("alice", password)) == "alice"
    client.get("/ping", user=("alice", long[:-1]), status=401)


NO_HASHES = {
    "a prefix": "$2", "short": "$2y$04$short", "long": HASH + "x", "cost": HASH.replace("$04$", "$99$"),
    "kind": "$2z" + HASH[3:],
}  # fmt: skip


@pytest.mark.parametrize("hashed", NO_HASHES.values(), ids=NO_HASHES.keys())
def test_a_hash_that_is_none_belongs_to_no_password(make_client, tmp_path, hashed):
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{hashed}\nbob:{HASH}\n")
    client = make_client(auth_file=path)
    client.get("/ping", user=ALICE, status=401)
    client.get("/ping", user=("bob", PASSWORD))


def test_unknown_users_and_wrong_passwords_take_the_same_time(make_client, tmp_path):
    path = tmp_path / "htpasswd"
    hashed = htpasswd.hash_password(PASSWORD, cost=8)
    path.write_text(f"root:{HASH}\nalice:{hashed}\nbob:{hashed}\ncarol:$2y$08$broken\n")
    client = make_client(auth_file=path, max_login_failures=0)

    def seconds(name, i):
        start = time.process_time()  # of this process alone: the machine may be busy
        client.get("/ping", user=(name, f"wrong {i}"), status=401)
        return time.process_time() - start

    times = {name: [] for name in ("alice", "nobody", "carol")}
    for i in range(15):
        for name, found in times.items():
            found.append(seconds(name, i))
    medians = {name: statistics.median(found) for name, found in times.items()}
    assert max(medians.values()) / min(medians.values()) < 1.25, medians


# What is remembered


def test_a_right_password_is_verified_once_and_then_costs_no_statement(make_client, auth_file, verified, monkeypatch):
    client = make_client(auth_file=auth_file)
    client.get("/ping", user=ALICE)
    monkeypatch.setattr(client.app.extensions["database"], "run", None)
    for _ in range(5):
        client.get("/ping", user=ALICE)
    assert len(verified) == 1


def test_when_its_time_has_passed_it_is_verified_again(make_client, auth_file, verified, monkeypatch):
    client = make_client(auth_file=auth_file, credential_cache_ttl_secs=60)
    clock = time.monotonic
    for later, expected in ((0, 1), (59, 1), (61, 2)):
        monkeypatch.setattr(accounts.time, "monotonic", lambda later=later: clock() + later)
        client.get("/ping", user=ALICE)
        assert len(verified) == expected


def test_with_0_seconds_every_request_is_verified(make_client, auth_file, verified):
    client = make_client(auth_file=auth_file, credential_cache_ttl_secs=0)
    for _ in range(3):
        client.get("/ping", user=ALICE)
    assert len(verified) == 3


def test_runners_that_come_at_once_have_their_password_verified_once(make_client, auth_file, verified):
    client = make_client(auth_file=auth_file)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.get("/ping", user=ALICE), range(24)))
    assert len(verified) == 1


def test_runners_with_an_old_password_have_it_verified_once_in_a_while(make_client, auth_file, verified):
    client = make_client(auth_file=auth_file, max_login_failures=2)
    for _ in range(10):
        client.get("/ping", user=("alice", "old password"), status=401)
    assert len(verified) == 1
    client.get("/ping", user=ALICE)


def test_memory_is_bounded_and_holds_no_password(make_client, auth_file, monkeypatch):
    monkeypatch.setattr(accounts, "MAX_VERDICTS", 5)
    client = make_client(auth_file=auth_file, max_login_failures=0)
    for i in range(20):
        client.get("/ping", user=("alice", f"wrong {i}"), status=401)
    client.get("/ping", user=ALICE)
    table = client.app.extensions["accounts"].table()
    assert 0 < len(table._verdicts) <= 5
    assert PASSWORD not in repr(vars(table))
    assert table._locks == {}


# Many at once


@pytest.fixture
def held(monkeypatch):
    """bcrypt waits until the event is set; .running: the passwords that it verifies now, .most: so many at once."""
    held = SimpleNamespace(go=threading.Event(), running=[], most=0)
    original = bcrypt.checkpw

    def checkpw(password, hashed):
        held.running.append(password)
        held.most = max(held.most, len(held.running))
        assert held.go.wait(60)
        held.running.remove(password)
        return original(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    yield held
    held.go.set()


def statuses(futures):
    return sorted(future.result().status_code for future in futures)


def test_names_that_are_made_up_hold_a_quarter_of_the_threads_and_nobody_else_waits(make_client, auth_file, held):
    client = make_client(auth_file=auth_file, threads=8)
    held.go.set()
    client.get("/ping", user=ALICE)
    held.go.clear()
    with ThreadPoolExecutor(12) as pool:
        strangers = [pool.submit(wrong, client, user=f"nobody-{i}", status=None) for i in range(10)]
        wait_for(lambda: sum(future.done() for future in strangers) == 8, what="the refusals")
        for future in filter(Future.done, strangers):
            refused = future.result()
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert "connection" in refused.json["error"]["message"]  # then torc's client tries again
        client.get("/ping", user=ALICE)
        first_login = pool.submit(client.get, "/ping", user=("bob", PASSWORD))
        turns = client.app.extensions["accounts"].turns
        wait_for(lambda: turns._waiting.total() == 1, what="bob, who waits")
        held.go.set()
        assert first_login.result().status_code == 200
    assert statuses(strangers) == [401, 401] + [503] * 8
    assert (turns._waiting, turns._strangers, turns._taken) == ({}, 0, set())


@pytest.mark.parametrize("cores, at_once", [(1, 1), (2, 1), (5, 2), (8, 4)])
def test_half_the_cores_verify(make_client, tmp_path, held, monkeypatch, cores, at_once):
    monkeypatch.setattr(throttle, "cores", lambda: cores)
    path = tmp_path / "htpasswd"
    path.write_text("".join(f"user-{i}:{HASH}\n" for i in range(8)))
    client = make_client(auth_file=path, threads=16)
    turns = client.app.extensions["accounts"].turns
    with ThreadPoolExecutor(8) as pool:
        logins = [pool.submit(client.get, "/ping", user=(f"user-{i}", PASSWORD)) for i in range(8)]
        wait_for(lambda: turns._waiting.total() == 8 and len(held.running) == at_once, what="all, who wait")
        held.go.set()
    assert statuses(logins) == [200] * 8
    assert held.most == at_once


def test_no_more_users_than_half_the_threads_wait_but_any_number_with_the_same_password(make_client, tmp_path, held):
    path = tmp_path / "htpasswd"
    path.write_text("".join(f"user-{i}:{HASH}\n" for i in range(5)))
    client = make_client(auth_file=path, threads=4, max_login_failures=0)
    turns = client.app.extensions["accounts"].turns
    with ThreadPoolExecutor(16) as pool:
        logins = [pool.submit(client.get, "/ping", user=(f"user-{i % 2}", PASSWORD)) for i in range(10)]
        wait_for(lambda: turns._waiting.total() == 10, what="the runners of two users")
        client.get("/ping", user=("user-3", PASSWORD), status=503)
        client.get("/ping", user=("nobody", PASSWORD), status=503)
        client.get("/ping", user=("user-1", "another password"), status=429)
        held.go.set()
    assert statuses(logins) == [200] * 10
    client.get("/ping", user=("user-3", PASSWORD))


def test_a_password_that_was_right_is_not_verified_again_while_others_wait(make_client, auth_file, verified, tmp_path):
    client = make_client(auth_file=auth_file, credential_cache_ttl_secs=0)
    client.get("/ping", user=ALICE)
    turns = client.app.extensions["accounts"].turns
    taken = [turns._take() for _ in range(turns._at_once)]
    client.get("/ping", user=ALICE)
    assert len(verified) == 1
    auth_file.write_text(f"alice:{htpasswd.hash_password('another password', cost=4)}\n")  # then it is not that file's
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(client.get, "/ping", user=ALICE, status=401)
        wait_for(turns._waiting.total, what="alice, who waits")
        for byte in taken:
            turns._give_back(byte)
        later.result()
    assert len(verified) == 2


def test_turns_are_shared_by_processes_and_end_with_them():
    turns = throttle.Turns(8)
    context = multiprocessing.get_context("fork")
    others, ours = context.Pipe()

    def take_all():
        turns.open()
        ours.send([turns._take() for _ in range(turns._at_once)])
        threading.Event().wait()

    process = context.Process(target=take_all)
    process.start()
    try:
        assert others.recv() == list(range(turns._at_once))
        assert turns.all_taken()
        assert turns._take() is None
    finally:
        process.kill()
        process.join()
    assert not turns.all_taken()


def test_while_many_clients_make_up_names_users_log_in_and_are_served(start_server, fresh_database_url, tmp_path):
    auth_file = tmp_path / "htpasswd"
    hashed = htpasswd.hash_password(PASSWORD, cost=10)
    auth_file.write_text(f"alice:{hashed}\nbob:{hashed}\n")
    server = start_server(database_url=fresh_database_url, auth_file=auth_file)
    served = threading.Event()
    server.client.get("/ping", user=ALICE)

    def make_up_names(client):
        found = Counter()
        while not served.is_set():
            made_up = (f"nobody-{client}-{found.total()}", "x")
            found[server.client.get("/ping", user=made_up, status=None).status_code] += 1
        return found

    with ThreadPoolExecutor(20) as pool:
        strangers = [pool.submit(make_up_names, client) for client in range(20)]
        try:
            wait_for(lambda: b"login failed" in server.log.read_bytes(), 30, "the first refusals")
            for user in (ALICE, ("bob", PASSWORD)) * 10:
                server.client.get("/ping", user=user)
        finally:
            served.set()
        found = sum((future.result() for future in strangers), Counter())
    assert found.keys() == {401, 503}


# Files that cannot be used


def make_unusable(path, kind):
    path.unlink(missing_ok=True)
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "a huge file":
        with open(path, "wb") as file:
            file.truncate(1 << 40)
    else:
        path.write_bytes({"no UTF-8": b"al\xffice:" + HASH.encode(), "no hash": b"alice:secret"}[kind])


UNUSABLE = {
    "a FIFO": "cannot read .*: it is not a regular file", "a device": "cannot read .*: it is not a regular file",
    "a folder": "cannot read .*: Is a directory", "a huge file": "cannot read .*: it is larger than 16 MiB",
    "no UTF-8": "it is not UTF-8", "no hash": "line 1: the hash is not of bcrypt",
}  # fmt: skip


@pytest.mark.parametrize("kind, told", UNUSABLE.items(), ids=UNUSABLE)
def test_what_is_no_password_file_is_one_line_at_the_start_and_at_a_reload(make_client, tmp_path, kind, told):
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\n")
    client = make_client(auth_file=path)
    make_unusable(path, kind)
    with pytest.raises(SettingsError, match=told) as refused:
        replace(Settings(), auth_file=path).check()
    assert "\n" not in str(refused.value)
    error = client.post("/admin/reload-auth", user=ALICE, status=500).json["error"]
    assert error["error"] == "ReloadFailed"
    assert re.search(told, error["message"])
    client.get("/ping", user=ALICE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_one_line_too(tmp_path):
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\n")
    path.chmod(0)
    with pytest.raises(SettingsError, match="Permission denied"):
        replace(Settings(), auth_file=path).check()


def test_a_server_with_a_fifo_for_passwords_ends_with_a_line(start_server, folder):
    os.mkfifo(folder / "people")
    server = start_server(auth_file=folder / "people", wait=False)
    assert server.process.wait(30) == 1
    assert server.log.read_text().splitlines() == [
        f"torc-server: cannot use the password file {folder}/people: cannot read {folder}/people: "
        "it is not a regular file"
    ]


def test_a_broken_hash_is_one_line_at_the_start_and_at_a_reload_and_the_other_users_log_in(
    make_client, tmp_path, caplog
):
    path = tmp_path / "htpasswd"
    path.write_text(f"alice:{HASH}\n# people\nbob:{HASH[:-1]}\n")
    client = make_client(auth_file=path)
    told = [record.getMessage() for record in caplog.records]
    assert told == [f"password file {path}: line 3: the hash of 'bob' is broken, no password fits it; set a new one"]
    caplog.clear()
    path.write_text(f"carol:$2y$99${HASH[7:]}\nalice:{HASH}\n")
    client.post("/admin/reload-auth", user=ALICE)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told == [f"password file {path}: line 1: the hash of 'carol' is broken, no password fits it; set a new one"]


@pytest.mark.parametrize("option", ["tls_cert", "tls_key"])
def test_a_fifo_for_tls_is_a_line_and_does_not_block_the_start(tmp_path, option):
    files = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    os.mkfifo(files[option])
    with pytest.raises(SettingsError, match="it is not a regular file"):
        replace(Settings(), https=True, **files).check()


# Guessing


def test_after_so_many_wrong_passwords_the_answer_is_429_in_every_worker_also_to_the_right_one(make_client, auth_file):
    workers = [make_client(auth_file=auth_file, max_login_failures=4, login_failure_window_secs=50) for _ in range(2)]
    workers[1].get("/ping", user=ALICE, headers={"X-Forwarded-For": "192.0.2.1"})
    for i in range(4):
        wrong(workers[i % 2], password=f"wrong {i}")
    for worker in workers:
        got = wrong(worker, password="wrong again", status=429)
        assert got.json["error"]["error"] == "TooManyRequests"
        assert 40 < int(got.headers["retry-after"]) <= 50
        assert "www-authenticate" not in got.headers
        wrong(worker, password=PASSWORD, status=429)  # remembered by one: guessing that must not be free


def test_another_user_and_another_address_are_not_blocked(make_client, auth_file):
    client = make_client(auth_file=auth_file, max_login_failures=2)
    for i in range(3):
        wrong(client, password=f"wrong {i}", status=401 if i < 2 else 429)
    wrong(client, user="bob", password=PASSWORD, status=200)
    wrong(client, password=PASSWORD, address="192.0.2.2", status=200)


def test_unknown_users_are_counted_like_known_ones(make_client, auth_file):
    client = make_client(auth_file=auth_file, max_login_failures=2)
    for i in range(3):
        wrong(client, user="nobody-of-that-name", password=f"wrong {i}", status=401 if i < 2 else 429)


def test_the_owners_own_logins_do_not_help_who_guesses(make_client, auth_file):
    client = make_client(auth_file=auth_file, max_login_failures=3, credential_cache_ttl_secs=0)
    for i in range(3):
        wrong(client, password=f"wrong {i}")
        if i < 2:
            wrong(client, password=PASSWORD, status=200)
    wrong(client, password="wrong again", status=429)


def test_when_the_window_has_passed_one_may_try_again(make_client, auth_file, database):
    client = make_client(auth_file=auth_file, max_login_failures=2, login_failure_window_secs=1)
    for i in range(2):
        wrong(client, password=f"wrong {i}")
    wrong(client, password=PASSWORD, status=429)
    wait_for(lambda: wrong(client, password=PASSWORD, status=None).status_code == 200, what="the end of the window")
    assert database.execute("SELECT count(*) FROM torc.login_attempt").fetchone() <= (1,), "what is over is removed"


def test_many_guesses_at_once_do_not_overshoot(make_client, auth_file, verified):
    workers = [make_client(auth_file=auth_file, max_login_failures=3) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda i: wrong(workers[i % 2], password=f"wrong {i}", status=None), range(40)))
    assert sorted(answer.status_code for answer in got) == [401] * 3 + [429] * 37
    assert len(verified) == 3


def test_with_0_nobody_is_blocked(make_client, auth_file):
    client = make_client(auth_file=auth_file, max_login_failures=0)
    for i in range(20):
        wrong(client, password=f"wrong {i}")


def test_failures_are_in_the_log_with_user_and_address_and_without_the_password(make_client, auth_file, caplog):
    client = make_client(auth_file=auth_file, max_login_failures=1)
    with caplog.at_level(logging.DEBUG):
        wrong(client, user="al\nice", password="tops3cret!")
        wrong(client, user="al\nice", password="tops3cret!!", status=429)
        wrong(client, password=PASSWORD, status=200)
    told = [record.getMessage() for record in caplog.records]
    assert "login failed: user 'al\\nice' from 192.0.2.1" in told
    assert any(line.startswith("login blocked for 60 s: user 'al\\nice' from 192.0.2.1") for line in told)
    assert not any("s3cret" in line or PASSWORD in line for line in told)


@pytest.mark.parametrize(
    "peer, forwarded, proxies, expected",
    [
        ("203.0.113.5", None, [], "203.0.113.5"),
        ("203.0.113.5", "192.0.2.1", [], "203.0.113.5"),
        ("203.0.113.5", "192.0.2.1", ["10.0.0.0/8"], "203.0.113.5"),
        ("10.1.2.3", "192.0.2.1", ["10.0.0.0/8"], "192.0.2.1"),
        ("10.1.2.3", "forged, 192.0.2.1", ["10.0.0.0/8"], "192.0.2.1"),
        ("10.1.2.3", "6.6.6.6, 192.0.2.1, 10.9.9.9", ["10.0.0.0/8"], "192.0.2.1"),
        ("10.1.2.3", "192.0.2.1, unknown", ["10.0.0.0/8"], "10.1.2.3"),
        ("10.1.2.3", None, ["10.1.2.3"], "10.1.2.3"),
        ("::ffff:10.1.2.3", "2001:db8::1", ["10.0.0.0/8"], "2001:db8::1"),
        ("", "6.6.6.6, 192.0.2.1", [], "192.0.2.1"),
        ("", None, [], "unix"),
    ],
)
def test_the_address_is_the_peers_unless_a_trusted_proxy_says_whose_it_is(peer, forwarded, proxies, expected):
    environ = {"REMOTE_ADDR": peer} | ({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {})
    assert auth.client_address(environ, auth.networks(proxies)) == expected


# Administrators


def admins(database):
    found = database.execute(
        "SELECT user_name, role FROM torc.user_group_membership AS m JOIN torc.access_group AS g ON g.id = group_id"
        " WHERE name = 'admin' AND is_system ORDER BY 1"
    )
    return dict(found.fetchall())


def test_the_members_of_the_group_admin_become_those_of_the_configuration(database):
    database.execute("DELETE FROM torc.access_group WHERE name = 'admin'")  # other tests may have named administrators
    group = database.execute("INSERT INTO torc.access_group (name) VALUES ('admin') RETURNING id").fetchone()[0]
    try:
        database.execute(
            "INSERT INTO torc.user_group_membership (user_name, group_id, role) VALUES ('ann', %s, 'member'),"
            " ('old', %s, 'admin')",
            [group, group],
        )
        for names, expected in (
            (["ann", "bob", "bob"], {"ann": "member", "bob": "admin"}),
            (["bob"], {"bob": "admin"}),
            ([], {}),
        ):
            database.execute("SELECT torc.synchronize_admins(%s)", [names])
            assert admins(database) == expected
    finally:
        database.execute("DELETE FROM torc.access_group WHERE name = 'admin'")


@pytest.mark.parametrize(
    "options, told",
    [
        ({"require_auth": True}, "--require-auth needs a password file"),
        ({"auth_file": "/nowhere/htpasswd"}, "cannot read /nowhere/htpasswd: No such file"),
        ({"admin_users": ("anonymous",)}, "'anonymous' is reserved"),
        ({"trusted_proxies": ("proxy.example",)}, "'proxy.example' is not an address or a network"),
        ({"https": True, "tls_cert": "cert.pem"}, "--https needs --tls-cert and --tls-key"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, told):
    with pytest.raises(SettingsError, match=told):
        replace(Settings(), **options).check()


# Clients


def test_torc_client_works_with_a_user_name_and_a_password(start_server, fresh_database_url, auth_file):
    server = start_server(database_url=fresh_database_url, auth_file=auth_file, require_auth=True, admin_user="bob")
    api = make_api(f"{server.url}/torc-service/v1")
    configuration = api.api_client.configuration
    configuration.username, configuration.password = ALICE
    token = configuration.get_basic_auth_token()
    api.api_client.set_default_header("Authorization", token)
    made = api.create_workflow(WorkflowModel(name="w", user="me"))
    assert made.user == api.get_workflow(made.id).user == "alice"
    assert [w.id for w in api.list_workflows(user="alice").items] == [made.id]
    with psycopg.connect(fresh_database_url) as connection:
        assert admins(connection) == {"bob": "admin"}
