"""`torc-server status`: what runs on this machine, how busy it is, what the database says."""

import json
import os
import re
import signal

import forked
import pytest
from support import clean_environment, wait_for


@pytest.fixture
def status(folder):
    """A function: (exit code, stdout) of `torc-server status` with these arguments."""

    def call(*arguments):
        got = forked.run(["status", *arguments], folder, clean_environment(folder))
        assert "Traceback" not in got.stderr
        return got.returncode, got.stdout

    return call


def told(status, server, *arguments):
    """(exit code, what is told about this server, what about the database); other tests may run servers too."""
    code, out = status("--json", *arguments)
    found = json.loads(out)
    return code, next((each for each in found["servers"] if each["pid"] == server.process.pid), None), found["database"]


def test_a_server_is_named_with_its_settings_and_numbers(status, start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=2, log_level="warning")
    wait_for(lambda: told(status, server)[1]["workers"] == 2, 30)
    server.client.get("/ping")
    _, found, database = told(status, server, f"--database-url={fresh_database_url}")
    assert (found["url"], found["answers"], found["ready"]) == (server.url, None, None)
    assert found["settings"]["log_level"] == "warning"
    assert (found["threads"], found["streams"]) == (16, 0)
    # Each second a worker tells how many are busy: perhaps just then with the questions of this command.
    wait_for(lambda: told(status, server)[1]["threads_busy"] == 0, 30, "a moment without a request")
    assert database["current"]
    assert [name for name in database["servers"] if f"process {server.process.pid} on " in name]


def test_for_a_person_it_is_text(status, start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url)
    _, out = status(f"--database-url={fresh_database_url}")
    line = rf"torc-server \S+ runs at {server.url}: process {server.process.pid}, for 0 min \d+ s\n  it answers; its"
    assert re.search(line, out)
    assert "  setting workers = 2\n" in out or os.cpu_count() == 2
    assert re.search(r"The database has version \d+ of the schema", out)


def test_a_database_password_is_not_shown(status, start_server, fresh_database_url):
    server = start_server(database_url=f"{fresh_database_url} password=secret")
    assert "password=***" in told(status, server)[1]["database"]
    assert "secret" not in status()[1] + status("--json")[1]


def test_a_server_that_does_not_answer_is_told_and_the_exit_code_is_1(status, start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url, workers=1)
    server.wait_for_workers(1)
    worker = server.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        code, found, _ = told(status, server)
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (code, found["answers"]) == (1, "timed out")


def test_a_stopped_server_is_not_listed(status, start_server, fresh_database_url):
    server = start_server(database_url=fresh_database_url)
    assert told(status, server)[1]
    server.stop()
    assert told(status, server)[1] is None


def test_without_a_server_the_exit_code_is_3(status, monkeypatch, folder, capsys):
    from torc_server import cli, runtime

    monkeypatch.setattr(runtime, "running", list)
    monkeypatch.setattr("sys.argv", ["torc-server", "status", f"--data-dir={folder}"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 3
    assert "No torc-server of this user runs on this machine.\n" in capsys.readouterr().out


def test_a_database_that_does_not_answer_is_told(status):
    assert "The database does not answer: " in status("--database-url=host=/nonexistent dbname=x")[1]


def test_a_server_on_a_unix_socket_is_asked_there(status, start_server, fresh_database_url, folder):
    server = start_server(wait=False, database_url=fresh_database_url, workers=1, host="none", socket=folder / "s")
    found = wait_for(lambda: told(status, server)[1], 60)
    assert found["url"] == f"unix:{folder / 's'}"
    assert (found["answers"], found["ready"]) == (None, None)
