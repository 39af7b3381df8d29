"""The files of deploy/ and the service: checked and run with the real programs where they are."""

import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import deploy_files
import forked
import pytest
import yaml
from support import BINARIES, clean_environment

from torc_server import service
from torc_server.settings import Settings, SettingsError, read_config_files

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
THRESHOLD = 20  # of `systemd-analyze security`, in tenths: 10 to 50 is OK


def needs(program):
    return pytest.mark.skipif(not _which(program), reason=f"there is no {program}")


def _which(program):
    return shutil.which(program, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin")


def test_the_files_are_those_that_the_program_makes():
    for name, text in deploy_files.files().items():
        assert (DEPLOY / name).read_text() == text, f"deploy/{name}: make deploy-files"


# torc.toml


def test_torc_toml_names_each_setting_with_its_default(tmp_path, monkeypatch):
    text = (DEPLOY / "torc.toml").read_text()
    assert tomllib.loads(text) == {"server": {}}
    named = re.findall(r"^# (\w+) = (.*)$", text, re.M)
    assert [name for name, _ in named] == list(vars(Settings()))
    in_force = "\n".join(f"{name} = {value}" for name, value in named if value != "…")
    path = tmp_path / "torc.toml"
    path.write_text(f"[server]\n{in_force}\n")
    monkeypatch.setattr("torc_server.settings.CONFIG_FILES", (str(path),))
    found = read_config_files()
    assert found.unknown == []
    for name, value in found.values.items():
        default = getattr(Settings(), name)
        assert value == (list(default) if isinstance(default, tuple) else default)


def test_torc_env_sets_only_what_there_is():
    lines = re.findall(r"^#?(TORC_\w+)=", (DEPLOY / "torc.env").read_text(), re.M)
    known = {f"TORC_{name.upper()}" for name in vars(Settings())}
    units = "".join(path.read_text() for path in (DEPLOY / "systemd").iterdir())
    assert [name for name in lines if name not in known and f"Environment={name}=" not in units] == []


# systemd


@pytest.fixture
def unit_folder(folder):
    """Units whose program is there, as systemd-analyze verify wants it."""
    made = folder / "units"
    made.mkdir()
    for name, text in service.units(BINARIES / "torc-server", account="nobody", arguments=["--port=7"]).items():
        (made / name).write_text(text.replace("Group=nobody", "Group=nogroup"))
    return made


@needs("systemd-analyze")
@pytest.mark.parametrize("user", [False, True])
def test_systemd_takes_the_units(folder, user):
    made = service.units(
        BINARIES / "torc-server", user, account="root", arguments=["--port=7", "--admin-user=a b"],
        settings=Settings(socket=Path("/run/torc/torc.sock")), activation=True,
    )  # fmt: skip
    for name, text in made.items():
        (folder / name).write_text(text)
    environment = clean_environment(folder, {"XDG_RUNTIME_DIR": str(folder)})
    done = subprocess.run(
        ["systemd-analyze", "verify", *(["--user"] if user else []), "--man=no", *(folder / name for name in made)],
        capture_output=True, text=True, timeout=60, env=environment,
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "torc-server" in line]
    assert (done.returncode, ours) == (0, [])


@needs("systemd-analyze")
@pytest.mark.parametrize("name", ["torc-server.service", "torc-server-backup.service", "torc-server-prune.service"])
def test_systemd_calls_the_services_ok(unit_folder, name):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", unit_folder / name],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:]
    assert "OK" in done.stdout.splitlines()[-1]


@needs("systemd-analyze")
def test_the_timers_know_when():
    for path in (DEPLOY / "systemd").glob("*.timer"):
        when = re.search(r"^OnCalendar=(.*)$", path.read_text(), re.M)[1]
        subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize(
    ("word", "quoted"),
    [("--port=7", "--port=7"), ("a b", '"a b"'), ("50%", "50%%"), ("$HOME", "$$HOME"), ('"', '"\\""'), ("", '""')],
)
def test_words_of_a_command_line_are_quoted_as_systemd_reads_them(word, quoted):
    assert service.quote(word) == quoted


@pytest.fixture
def torc(folder, monkeypatch):
    """Runs `torc-server service … --user` with a systemctl that writes down how it is called; gives
    (exit code, stderr, calls)."""
    programs = folder / "bin"
    programs.mkdir()
    calls = folder / "calls"
    calls.touch()
    systemctl = programs / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {calls}\ncase "$*" in *status*) exit 3;; esac\n')
    systemctl.chmod(systemctl.stat().st_mode | stat.S_IXUSR)
    environment = clean_environment(folder, {"PATH": f"{programs}:{os.environ['PATH']}"})
    environment.pop("XDG_CONFIG_HOME", None)

    def torc(*arguments):
        calls.write_text("")
        done = forked.run(["service", *arguments], folder, environment)
        return done.returncode, done.stderr, calls.read_text().splitlines()

    return torc


@pytest.mark.slow
def test_a_service_of_a_user_is_installed_started_stopped_and_removed(torc, folder):
    options = ["--port=7001", "--no-require-auth", "--admin-user=a", "--admin-user=b"]
    code, told, calls = torc("install", "--user", *options)
    assert (code, calls[0]) == (0, "--user daemon-reload")
    assert calls[1].startswith("--user enable torc-server.service")
    assert "torc-server service start --user" in told
    units = folder / ".config/systemd/user"
    unit = (units / "torc-server.service").read_text()
    program = BINARIES / "torc-server"
    assert f"ExecStart={program} run {' '.join(options)}\n" in unit
    assert "\nUser=" not in unit
    timers = "torc-server-backup.timer torc-server-prune.timer"
    assert torc("start", "--user")[2] == [f"--user start torc-server.service {timers}"]
    assert torc("stop", "--user")[2] == [f"--user stop torc-server.service {timers}"]
    assert torc("status", "--user")[0] == 3
    assert (
        torc("uninstall", "--user")[2][0]
        == f"--user disable --now torc-server.service {timers.split(maxsplit=1)[0]} " + (timers.split()[1])
    )
    assert not list(units.iterdir())
    code, told, _ = torc("uninstall", "--user")
    assert (code, told) == (1, f"torc-server: there is no torc-server.service in {units}\n")


@pytest.mark.slow
def test_a_service_with_settings_that_cannot_be_used_is_not_installed(torc, folder):
    code, told, calls = torc("install", "--user", "--https")
    assert (code, told, calls) == (1, "torc-server: --https needs --tls-cert and --tls-key\n", [])
    assert not (folder / ".config").exists()


def test_a_program_that_the_service_could_not_reach_is_refused():
    with pytest.raises(SettingsError, match="the service cannot reach /root/x: install torc-server outside of home"):
        service.install("/root/x", user=False, account="torc")


@pytest.mark.slow
def test_systemd_is_told_ready_reloading_stopping_and_that_the_server_lives(folder, database_url):
    import signal
    import socket

    from support import Server

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(folder / "notify"))
        systemd.settimeout(60)
        server = Server(folder / "s", database_url=database_url, environment={"NOTIFY_SOCKET": str(folder / "notify")})

        def await_message(text):
            while text not in systemd.recv(4096).decode():
                pass

        try:
            await_message("READY=1")
            await_message("STATUS=serves http://")
            await_message("WATCHDOG=1")
            server.process.send_signal(signal.SIGHUP)
            for text in ("RELOADING=1\nMONOTONIC_USEC=", "READY=1", "WATCHDOG=1"):
                await_message(text)
            server.process.terminate()
            await_message("STOPPING=1")
        finally:
            server.stop()


# logrotate, fail2ban, scripts, containers


@needs("logrotate")
def test_logrotate_takes_its_file(folder):
    config = folder / "torc-server"
    shutil.copy(DEPLOY / "logrotate/torc-server", config)
    config.chmod(0o644)
    done = subprocess.run(
        [_which("logrotate"), "-d", "-s", folder / "state", config], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()


@pytest.fixture
def login_lines(start_server, fresh_database_url, folder):
    """The lines that real failed logins leave in the log."""
    (folder / "htpasswd").write_text("alice:$2b$04$" + "." * 53 + "\n")
    server = start_server(
        database_url=fresh_database_url, auth_file=folder / "htpasswd", max_login_failures=2, workers=1,
        trusted_proxy="127.0.0.1",
    )  # fmt: skip
    forged = "login failed: user 'x' from 198.51.100.9"
    names = ["alice", "it's", "both ' and \"", "x' from 198.51.100.9", f"WARNING torc_server: {forged}"]
    for name in names:
        server.client.get("/ping", user=(name, "wrong"), headers={"X-Forwarded-For": "192.0.2.7"}, status=401)
    for i in range(3):
        headers = {"X-Forwarded-For": "2001:db8::7"}
        server.client.get("/ping", user=("alice", f"wrong {i}"), headers=headers, status=None)
    lines = [line for line in server.log.read_text().splitlines() if "login " in line]
    assert len(lines) == len(names) + 3
    assert "login blocked for" in lines[-1]
    return lines


def _filter():
    """The failregex of the filter as Python's."""
    from configparser import ConfigParser

    parser = ConfigParser()
    parser.read(DEPLOY / "fail2ban/filter.d/torc-server.conf")
    section = {key: parser.get("Definition", key) for key in ("failregex",)}
    address = r"(?P<address>[0-9a-f:.]+)"
    return [re.compile(line.strip().replace("<ADDR>", address)) for line in section["failregex"].splitlines()]


@pytest.mark.slow
def test_the_filter_of_fail2ban_finds_the_address_of_each_failed_login_and_no_forged_one(login_lines):
    found = []
    for line in login_lines:
        without_time = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "", line)
        for form in (without_time, f"host torc-server[4711]: {without_time}"):
            matches = [match["address"] for pattern in _filter() if (match := pattern.search(form))]
            assert len(matches) == 1, line
        found += matches
    assert found == ["192.0.2.7"] * 5 + ["2001:db8::7"] * 3


@pytest.mark.slow
@needs("fail2ban-regex")
def test_fail2ban_itself_finds_them(login_lines, folder):
    (folder / "log").write_text("\n".join(login_lines) + "\n")
    done = subprocess.run(
        ["fail2ban-regex", "-o", "ip", folder / "log", DEPLOY / "fail2ban/filter.d/torc-server.conf"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["192.0.2.7"] * 5 + ["2001:db8::7"] * 3, done.stderr


@needs("shellcheck")
def test_shellcheck_takes_the_shell_in_the_units():
    for path in (DEPLOY / "systemd").glob("*.service"):
        for script in re.findall(r"/bin/sh -c '(.*)'", path.read_text()):
            script = "#!/bin/sh\n" + script.replace("%%", "%") + "\n"
            done = subprocess.run([_which("shellcheck"), "-"], input=script, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout


def test_the_compose_file_starts_servers_whose_connections_the_database_allows():
    services = yaml.safe_load((DEPLOY / "container/compose.yaml").read_text())["services"]
    most = int(re.search(r"max_connections=(\d+)", " ".join(services["database"]["command"]))[1])
    servers = [name for name in services if name.startswith("server-")]
    assert len(servers) * Settings(workers=4).connections + 10 <= most


def test_the_settings_in_the_containerfile_are_settings():
    text = (DEPLOY / "container/Containerfile").read_text()
    assert {name.lower() for name in re.findall(r"TORC_(\w+)=", text)} - {"admin_users"} <= vars(Settings()).keys()
