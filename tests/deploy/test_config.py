"""`torc-server config`: the settings in force, and where each comes from; what is broken is said, never ignored."""

import os
import tomllib
from pathlib import Path

import pytest
from support import clean_environment

from torc_server import cli, data_folder, htpasswd, settings
from torc_server.commands import messages, startup
from torc_server.settings import Settings


@pytest.fixture
def config(monkeypatch, tmp_path, capsys):
    """Runs `torc-server config …` with those files and variables; gives (exit code, stdout, stderr)."""
    monkeypatch.setattr("os.environ", clean_environment(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings, "CONFIG_FILES", ("torc.toml", "~/.config/torc/config.toml"))

    def config(*arguments, command="config", environment=None, torc_toml="", user_toml=""):
        user = tmp_path / ".config/torc/config.toml"
        user.parent.mkdir(parents=True, exist_ok=True)
        user.write_text(user_toml)
        Path("torc.toml").write_text(torc_toml)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("sys.argv", ["torc-server", command, *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return config


@pytest.fixture
def auth_file(tmp_path):
    path = tmp_path / "people"
    path.write_text(f"alice:{htpasswd.hash_password('long enough', cost=4)}\n")
    return path


def test_every_setting_is_told_with_where_it_comes_from(config, auth_file, tmp_path):
    code, out, err = config(
        "--port=7",
        "--require-auth",
        environment={"TORC_ADMIN_USERS": "ann, bob,,ann", "TORC_THREADS": "2", "TORC_TRUSTED_PROXIES": "10.0.0.0/8"},
        torc_toml=f"[server]\nurl = '::1'\nauth_file = '{auth_file}'\nadmin_users = ['nobody-else']\nthreads = 9\n",
        user_toml="[server]\nhost = 'x'\nmax_login_failures = 3\ndatabase = 'postgresql://me:s3cret@there/torc'\n",
    )
    assert (code, err) == (0, "")
    user = tmp_path / ".config/torc/config.toml"
    for line in (
        "port = 7  # option",
        "require_auth = true  # option",
        'host = "::1"  # torc.toml',
        'admin_users = ["ann", "bob"]  # environment variable TORC_ADMIN_USERS',
        "threads = 2  # environment variable TORC_THREADS",
        f"max_login_failures = 3  # {user}",
        f'auth_file = "{auth_file}"  # torc.toml',
        "https = false  # default",
        "# tls_cert =  # default",
        'trusted_proxies = ["10.0.0.0/8"]  # environment variable TORC_TRUSTED_PROXIES',
        f'database_url = "postgresql://me:***@there/torc"  # {user}',
    ):
        assert line in out.splitlines()
    assert "s3cret" not in out
    assert len(out.splitlines()) == 1 + len(settings.fields(Settings))


def test_what_it_prints_is_a_configuration_file(config):
    _, out, _ = config("--admin-user", 'a"b\\c', "--admin-user", "ü")
    printed = tomllib.loads(out)["server"]
    assert printed["admin_users"] == ['a"b\\c', "ü"]
    assert config(torc_toml=out)[0] == 0


def test_a_list_in_the_file_an_option_repeated_and_a_variable_with_commas_are_the_same(config):
    wanted = 'admin_users = ["ann", "bob"]'
    assert wanted in config("--admin-user", "ann", "--admin-user", "bob")[1]
    assert wanted in config(torc_toml="[server]\nadmin_users = ['ann', 'bob']")[1]
    assert wanted in config(environment={"TORC_ADMIN_USERS": "ann,bob"})[1]


def test_a_switch_that_a_file_turns_on_can_be_turned_off(config):
    toml = "[server]\nenforce_access_control = true\n"
    assert "enforce_access_control = true  # torc.toml" in config(torc_toml=toml)[1]
    assert "enforce_access_control = false  # option" in config("--no-enforce-access-control", torc_toml=toml)[1]
    variable = {"TORC_ENFORCE_ACCESS_CONTROL": "0"}
    assert "enforce_access_control = false  # environment" in config(environment=variable, torc_toml=toml)[1]


@pytest.mark.parametrize(
    "toml, told",
    [
        ("[server\n", "cannot read the configuration file torc.toml"),
        ("[server]\nrequire_auth = 'yes'", "torc.toml: require_auth: 'yes' is not a valid boolean"),
        ("[server]\nrequire_auth = 1", "1 is not a valid boolean"),
        ("[server]\nport = true", "True is not a valid integer"),
        ("[server]\nport = 1.5", "1.5 is not a valid integer"),
        ("[server]\nadmin_users = 'ann,bob'", "'ann,bob' is not a valid list of texts"),
        ("[server]\nadmin_users = [1]", "[1] is not a valid list of texts"),
        ("[server]\nauth_file = 7", "7 is not a valid text"),
        ("[server]\nrequire_auth = true", "--require-auth needs a password file"),
        ("[server]\nauth_file = 'nowhere'", "cannot use the password file nowhere: cannot read nowhere"),
        ("[server]\nauth_file = 'torc.toml'", "cannot use the password file torc.toml: line 1 has no colon"),
        ("[server]\ntrusted_proxies = ['proxy']", "'proxy' is not an address or a network"),
        ("[server]\nhttps = true", "--https needs --tls-cert and --tls-key"),
        (
            "[server]\nhttps = true\ntls_cert = 'torc.toml'\ntls_key = 'torc.toml'",
            "cannot use torc.toml with torc.toml",
        ),
        ("[server]\ncredential_cache_ttl_secs = -1", "-1 is not in the range"),
    ],
)
@pytest.mark.parametrize("command", ["config", "run"])
def test_a_broken_configuration_is_one_line_and_a_non_zero_exit(config, command, toml, told):
    code, out, err = config(command=command, torc_toml=toml)
    assert (code != 0, out) == (True, "")
    assert told in err
    assert len(err.splitlines()) == 1
    assert err.startswith("torc-server: ")


@pytest.mark.parametrize("variable", ["TORC_REQUIRE_AUTH", "TORC_HTTPS", "TORC_MAX_LOGIN_FAILURES"])
def test_a_broken_variable_is_one_line_that_names_it(config, variable):
    code, _, err = config(environment={variable: "perhaps"})
    assert (code, len(err.splitlines())) == (2, 1)
    assert "perhaps" in err


def test_a_setting_that_nobody_knows_is_told(config, monkeypatch):
    toml = "[server]\nrequire_auht = true\n"
    assert "# ignored, because there is no such setting: require_auht in torc.toml" in config(torc_toml=toml)[1]
    monkeypatch.setattr(startup, "serve", lambda found: messages.warn_of_unknown_settings())
    assert config(command="run", torc_toml=toml)[2] == "Warning: there is no setting require_auht in torc.toml\n"


def test_inside_a_checkout_the_data_folder_is_the_one_that_make_serve_has_made(config, monkeypatch, tmp_path):
    monkeypatch.setattr(settings, "CHECKOUT", tmp_path)
    monkeypatch.setattr("torc_server.data_folder.ROOTS_FOLDER", tmp_path / "var")
    assert f'data_dir = "{tmp_path / ".torc"}"' not in config()[1], "there is none yet"
    (tmp_path / ".torc" / "data").mkdir(parents=True)
    assert f'data_dir = "{tmp_path / ".torc"}"  # default' in config()[1]
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    assert f'data_dir = "{tmp_path / ".torc"}"  # default' in config()[1]
    assert 'data_dir = "elsewhere"  # option' in config("--data-dir=elsewhere")[1]
    monkeypatch.chdir(tmp_path.parent)
    assert str(tmp_path / ".torc") not in config()[1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another folder in its place")
def test_inside_a_checkout_root_finds_the_folder_that_stands_in_for_the_one_of_make_serve(
    config, monkeypatch, tmp_path
):
    monkeypatch.setattr(settings, "CHECKOUT", tmp_path)
    monkeypatch.setattr("torc_server.data_folder.ROOTS_FOLDER", tmp_path / "var")
    (data_folder.replacement(tmp_path / ".torc") / "data").mkdir(parents=True)
    assert f'data_dir = "{tmp_path / ".torc"}"  # default' in config()[1]
