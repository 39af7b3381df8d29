"""Flags > TORC_<OPTION> > ./torc.toml > ~/.config/torc/config.toml > /etc/torc/config.toml > defaults."""

import os
from pathlib import Path

import pytest
from support import clean_environment

from torc_server import cli, settings
from torc_server.commands import startup
from torc_server.settings import Settings, sqlite_file


@pytest.fixture
def started(monkeypatch, tmp_path, capsys):
    """Runs `torc-server …` up to the moment where it would serve; gives (Settings or None, exit code, stderr)."""
    etc = tmp_path / "etc.toml"
    monkeypatch.setattr("os.environ", clean_environment(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "CONFIG_FILES", ("torc.toml", "~/.config/torc/config.toml", str(etc)))

    def started(*arguments, environment=None, torc_toml=None, user_toml=None, etc_toml=None):
        user = tmp_path / ".config/torc/config.toml"
        user.parent.mkdir(parents=True, exist_ok=True)
        for file, text in ((Path("torc.toml"), torc_toml), (user, user_toml), (etc, etc_toml)):
            if text is not None:
                file.write_text(text)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        seen = []
        monkeypatch.setattr(startup, "serve", seen.append)
        monkeypatch.setattr("sys.argv", ["torc-server", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (seen or [None])[0], ended.value.code or 0, capsys.readouterr().err

    return started


def test_without_anything_said_it_runs_with_the_defaults(started):
    found, code, _ = started()
    assert (found, code) == (Settings(), 0)
    assert (found.host, found.port, found.threads, found.database_url) == ("127.0.0.1", 8080, 4, None)
    assert found.workers >= 2


def test_a_flag_wins_over_the_environment_and_that_over_the_files(started):
    files = {
        "torc_toml": "[server]\nthreads = 5\nport = 1\n[client]\nport = 99\n",
        "user_toml": "[server]\nport = 2\nworkers = 4\nthreads = 1\nsomething_else = true\n",
        "etc_toml": "[server]\nport = 3\nworkers = 9\nhost = '::1'\nlog_level = 'debug'\n",
    }
    found, _, _ = started("run", "--port", "7", environment={"TORC_PORT": "8", "TORC_LOG_LEVEL": "error"}, **files)
    assert (found.port, found.log_level, found.threads, found.workers, found.host) == (7, "error", 5, 4, "::1")


def test_each_option_is_an_environment_variable(started):
    found, _, _ = started(
        environment={
            "TORC_HOST": "0.0.0.0",
            "TORC_PORT": "9000",
            "TORC_WORKERS": "3",
            "TORC_THREADS": "2",
            "TORC_DATA_DIR": "there",
            "TORC_DATABASE_URL": "postgresql://me@there/torc",
            "TORC_LOG_LEVEL": "warn",
            "TORC_MAX_REQUEST_BODY_MB": "5",
            "TORC_COMPLETION_CHECK_INTERVAL_SECS": "0.5",
            "TORC_ALLOWED_ORIGINS": "https://a.example, http://b:3000",
            "TORC_ALLOWED_HOSTS": "torc.example",
            "TORC_LIMIT_REQUEST_FIELD_SIZE": "9000",
            "TORC_MAX_SMALL_BODY_MB": "2",
        }
    )
    assert found == Settings(
        host="0.0.0.0",
        port=9000,
        workers=3,
        threads=2,
        data_dir=Path("there"),
        log_level="warn",
        database_url="postgresql://me@there/torc",
        max_request_body_mb=5,
        completion_check_interval_secs=0.5,
        allowed_origins=("https://a.example", "http://b:3000"),
        allowed_hosts=("torc.example",),
        limit_request_field_size=9000,
        max_small_body_mb=2,
    )


def test_a_configuration_file_that_is_a_fifo_does_not_block_the_start(started, tmp_path):
    os.mkfifo(tmp_path / "torc.toml")
    found, code, told = started()
    assert (found, code) == (None, 1)
    assert told == "torc-server: cannot read the configuration file torc.toml: it is not a regular file\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["-u", "0.0.0.0", "-p", "0", "-t", "4", "-l", "DEBUG", "-c", "2.5", "-d", "postgresql:///torc"],
        [
            "--url=0.0.0.0",
            "--port=0",
            "--threads=4",
            "--log-level=debug",
            "--completion-check-interval-secs=2.5",
            "--database=postgresql:///torc",
        ],
        ["-H", "0.0.0.0", "-p0", "-t4", "-l", "debug", "-c2.5", "--database-url", "postgresql:///torc"],
    ],
)
def test_the_flags_of_existing_launchers_work(started, arguments):
    found, _, _ = started("run", *arguments)
    assert (found.host, found.port, found.threads, found.log_level) == ("0.0.0.0", 0, 4, "debug")
    assert (found.completion_check_interval_secs, found.database_url) == (2.5, "postgresql:///torc")


@pytest.mark.parametrize(
    "given, file",
    [
        ("torc.db", "torc.db"),
        ("/var/lib/a=b.db", "/var/lib/a=b.db"),
        ("sqlite:torc.db", "torc.db"),
        ("sqlite:///var/lib/torc.db?mode=rwc", "/var/lib/torc.db"),
        (":memory:", "FILE"),
        ("sqlite::memory:", "FILE"),
    ],
)
def test_a_sqlite_database_is_refused_with_the_command_that_imports_it(started, given, file):
    found, code, err = started("run", "-d", given)
    assert (found, code) == (None, 2)
    assert len(err.splitlines()) == 1 and f"type: torc-server import {file}\n" in err


@pytest.mark.parametrize("given", ["host=/tmp dbname=torc", "dbname=torc", "postgresql:///torc"])
def test_other_databases_are_no_sqlite_files(given):
    assert sqlite_file(given) is None


@pytest.mark.parametrize(
    "arguments, files, told",
    [
        (["run", "--port", "70000"], {}, "70000 is not in the range"),
        (["run", "--port", "http"], {}, "'http' is not a valid integer"),
        (["run", "--database", "/var/lib/torc.db"], {}, "must be a PostgreSQL URL"),
        (["run", "--database", "sqlite:torc.db"], {}, "must be a PostgreSQL URL"),
        (["run", "-d", "postgresql://h/db?nonsense=1"], {}, "nonsense"),
        (["serve"], {}, "No such command 'serve'"),
        (["run"], {"torc_toml": "[server\nport = 1"}, "cannot read the configuration file torc.toml"),
        (["run"], {"etc_toml": "server = 1"}, "[server] is not a section"),
        (["run"], {"user_toml": "[server]\nport = 'x'"}, "'x' is not a valid integer"),
        (["migrate"], {"torc_toml": "[server]\ndatabase = 'torc.db'"}, "must be a PostgreSQL URL"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_a_non_zero_exit(started, arguments, files, told):
    found, code, err = started(*arguments, **files)
    assert found is None
    assert code != 0
    assert told in err
    assert len(err.splitlines()) == 1
    assert err.startswith("torc-server: ")
