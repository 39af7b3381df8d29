"""What the server logs: formats, access lines, span ids, the file that processes rotate, --daemon, --pid-file."""

import json
import logging
import multiprocessing
import os
import re
import signal

import forked
import psycopg
import pytest
from support import clean_environment, torc_server, wait_for

from torc_server import logs

PLAIN = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (DEBUG|INFO|WARNING|ERROR) [\w.]+\[\d+\][^:]*: |    ).*")
SPAN = {"X-Span-ID": "my span"}


def lines(server, word):
    return [line for line in server.log.read_text().splitlines() if word in line]


def json_lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def server_of(start_server, fresh_database_url):
    """A function that starts a server with some options."""
    return lambda **options: start_server(**{"workers": 1, "database_url": fresh_database_url} | options)


def test_every_plain_line_has_time_and_level(server_of):
    server = server_of(log_level="debug", access_log="all")
    server.client.get("/ping")
    server.client.post("/jobs", body="{", status=None)
    server.stop()
    text = server.log.read_text().splitlines()
    assert [line for line in text if not PLAIN.fullmatch(line)] == []
    assert any("gunicorn.error" in line for line in text), "gunicorn's lines are among them"
    assert any(line.endswith(": stopped serving") for line in text)


def test_every_json_line_is_an_object_with_time_and_level(server_of):
    server = server_of(log_format="json", log_level="debug", access_log="all")
    server.client.get("/workflows/5", headers=SPAN, status=404)
    server.stop()
    found = json_lines(server.log)
    assert all({"time", "level", "logger", "process", "message"} <= line.keys() for line in found)
    access = [line for line in found if line["logger"] == "torc_server.access"]
    assert len(access) == 1
    assert access[0]["ms"] > 0 and access[0]["bytes"] > 0
    wanted = {
        "method": "GET", "path": "/torc-service/v1/workflows/5", "route": "/torc-service/v1/workflows/<int64:id>",
        "status": 404, "user": "anonymous", "client": "127.0.0.1", "workflow_id": 5, "span_id": "my span",
        "level": "INFO",
    }  # fmt: skip
    assert {name: access[0][name] for name in wanted} == wanted


def test_a_server_that_cannot_start_says_why_in_its_format(folder):
    got = torc_server(folder, "run", "--log-format=json", "--host=203.0.113.7", "--log-dir=logs", code=1)
    assert "cannot listen on 203.0.113.7" in json.loads(got.stderr.splitlines()[-1])["message"]
    assert json_lines(folder / "logs" / "torc-server.log")[-1]["level"] == "ERROR"


@pytest.mark.parametrize("setting, logged", [("off", []), ("errors", [404]), ("all", [200, 404])])
def test_the_setting_says_which_answers_are_logged(server_of, setting, logged):
    server = server_of(access_log=setting, log_format="json", log_level="error")
    server.client.get("/ping")
    server.client.get("/nothing", status=404)
    server.stop()
    found = [line for line in json_lines(server.log) if line["logger"] == "torc_server.access"]
    assert [line["status"] for line in found] == logged


def test_answers_made_before_the_application_are_logged_too(server_of):
    server = server_of(workers=1, log_format="json")
    server.client.get("/ping", prefix="", headers={"Content-Length": "x"}, status=400)
    server.stop()
    found = [line for line in json_lines(server.log) if "torc_server.access" in line["logger"]]
    assert [(line["status"], line["client"]) for line in found] == [(400, "127.0.0.1")]


def test_a_client_cannot_write_lines_of_its_own(server_of):
    server = server_of()
    server.client.get("/a%0a2026-01-01%20ERROR%20forged%1b[31m", status=404)
    server.client.get("/x", headers={"X-Span-ID": "caf\xe9"}, status=404)
    server.stop()
    assert not [line for line in server.log.read_text().splitlines() if line.startswith("2026-01-01 ERROR")]
    assert len(lines(server, "%0A2026-01-01%20ERROR%20forged%1B")) == 1


def test_passwords_query_strings_and_bodies_are_not_logged(server_of, folder):
    (folder / "users").write_text("bob:$2b$04$" + "a" * 53 + "\n")
    server = server_of(access_log="all", log_level="debug", auth_file=folder / "users")
    server.client.get("/ping", params={"q": "secret-q"}, user=("alice", "secret-p"), status=401)
    server.client.post("/workflows", json={"name": "secret-b", "user": "u"})
    server.stop()
    text = server.log.read_text()
    assert "alice" in text
    assert "secret" not in text


def test_lines_of_a_request_carry_its_span_id_those_about_the_database_too(server_of):
    server = server_of(log_format="json", slow_statement_ms=1, workers=1)
    workflow = server.client.post("/workflows", json={"name": "w", "user": "u"}, headers={"X-Span-ID": "first"}).json
    answer = server.client.get(f"/workflows/{workflow['id']}")
    server.client.post(f"/workflows/{workflow['id']}/initialize_jobs", headers={"X-Span-ID": "slow"}, status=200)
    server.stop()
    assert answer.headers["x-span-id"].isdecimal()
    slow = [line for line in json_lines(server.log) if "slow statement" in line["message"]]
    assert {(line["statement"], line["span_id"]) for line in slow} >= {("initialize_jobs", "slow")}
    assert all(line["ms"] >= 1 for line in slow)


def test_a_lost_database_is_logged_with_the_span_id(start_server, folder):
    server = start_server(log_format="json", workers=1)
    server.client.get("/workflows")
    pid = int((server.data_dir / "data" / "postmaster.pid").read_text().split("\n")[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        os.kill(pid, signal.SIGQUIT)
    finally:
        os.kill(pid, signal.SIGCONT)

    def is_told():
        server.client.get("/workflows", headers=SPAN, status=None)
        return [line for line in json_lines(server.log) if line.get("span_id") == "my span"]

    assert wait_for(is_told, 30)


def test_the_file_has_the_lines_and_may_be_json_while_stderr_is_plain(server_of, folder):
    server = server_of(log_dir=folder / "logs", json_logs=True)
    server.client.get("/nothing", status=404)
    server.stop()
    assert any("404" in line["message"] for line in json_lines(folder / "logs" / "torc-server.log"))
    assert all(PLAIN.fullmatch(line) for line in server.log.read_text().splitlines())


def record(text):
    return logging.makeLogRecord({"msg": text, "name": "n", "levelname": "INFO", "span_id": None})


def write(path, name, count, max_bytes):
    file = logs.LogFile(path, max_bytes)
    file.setFormatter(logging.Formatter("%(message)s"))
    for number in range(count):
        file.handle(record(f"{name} {number} {'x' * 100}"))


def test_several_processes_rotate_one_file_and_lose_no_line(tmp_path):
    path = tmp_path / "torc-server.log"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write, args=(path, name, 500, 50_000)) for name in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    files = sorted(tmp_path.glob("torc-server.log*"))
    found = [line for file in files for line in file.read_text().splitlines()]
    assert {line.rsplit(" ", 1)[0] for line in found} == {f"{name} {n}" for name in "abcd" for n in range(500)}
    assert len(found) == 2000
    assert all(file.stat().st_size < 51_000 for file in files)
    assert 2 < len(files) <= 1 + logs.BACKUPS


def test_only_five_old_files_are_kept(tmp_path):
    write(tmp_path / "log", "a", 100, 300)
    assert {file.name for file in tmp_path.glob("log*")} == {"log", *(f"log.{n}" for n in range(1, 6))}


def test_a_file_that_logrotate_has_renamed_is_made_again(tmp_path):
    path = tmp_path / "log"
    file = logs.LogFile(path)
    file.handle(record("one"))
    path.rename(tmp_path / "log.old")
    file.handle(record("two"))
    assert ("one" in (tmp_path / "log.old").read_text(), "two" in path.read_text()) == (True, True)


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path, capsys):
    file = logs.LogFile("/dev/full")
    for _ in range(3):
        file.handle(record("one"))
    assert capsys.readouterr().err == "/dev/full: log lines are lost: [Errno 28] No space left on device\n"


def test_an_exception_is_indented_in_plain_and_a_field_in_json():
    try:
        raise ValueError("one\ntwo")
    except ValueError as error:
        found = logging.makeLogRecord({"msg": "bad", "span_id": "s", "exc_info": (type(error), error, None)})
    assert logs.Plain().format(found).splitlines()[1:] == ["    ValueError: one", "    two"]
    assert json.loads(logs.Json().format(found))["exception"] == "ValueError: one\ntwo"


def test_an_error_of_the_database_is_logged_without_the_row_that_caused_it(fresh_database_url):
    with psycopg.connect(fresh_database_url) as connection:
        try:
            connection.execute("DO $$ BEGIN INSERT INTO torc.workflow (description) VALUES ('secret\nrow'); END $$")
        except psycopg.Error as error:
            found = logging.makeLogRecord({"msg": "bad", "span_id": "s", "exc_info": (type(error), error, None)})
    text = logs.Plain().format(found)
    assert 'null value in column "name"' in text
    assert "PL/pgSQL function inline_code_block line 1" in text
    assert "secret" not in text and "row)" not in text


# --daemon and --pid-file


def daemon(folder, url, *more):
    arguments = ["run", "--daemon", "--port=0", "--workers=1", f"--database-url={url}", *more]
    return forked.run(arguments, folder, clean_environment(folder))


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_daemon_listens_when_the_command_returns_and_its_pid_file_names_it(folder, fresh_database_url):
    flags = ["--pid-file=pid", "--log-dir=logs"]
    got = daemon(folder, fresh_database_url, *flags)
    assert got.returncode == 0, got.stderr
    pid = int((folder / "pid").read_text())
    try:
        assert re.fullmatch(r"TORC_SERVER_PORT=\d+\n", got.stdout)
        second = daemon(folder, fresh_database_url, *flags)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"is running: process {pid}" in second.stderr
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/fd/2") == os.devnull
        log = folder / "logs" / "torc-server.log"
        os.kill(pid, signal.SIGHUP)
        wait_for(lambda: "Reloaded; changed: nothing" in log.read_text(), 40)
        assert int((folder / "pid").read_text()) == pid
        assert daemon(folder, fresh_database_url, *flags).returncode == 1, "the file is still held"
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: is_gone(pid), 25)  # not 30 s: its workers have just been forked
    assert not (folder / "pid").exists()
    assert (folder / "logs" / "torc-server.log").read_text().endswith("stopped serving\n")


def test_a_daemon_that_cannot_start_says_why_and_fails(folder, fresh_database_url):
    got = daemon(folder, fresh_database_url, "--pid-file=missing/pid")
    assert got.returncode == 1
    assert "cannot write the PID file" in got.stderr


def test_the_log_settings_of_torcs_configuration_file_are_taken(folder):
    (folder / "torc.toml").write_text('[logging]\nlog_dir = "l"\njson_logs = true\nother = 1\n')
    got = torc_server(folder, "config")
    assert 'log_dir = "l"  # torc.toml' in got.stdout
    assert "json_logs = true  # torc.toml" in got.stdout
    assert "ignored" not in got.stdout
