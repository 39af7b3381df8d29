"""`torc-server htpasswd`: what it writes, keeps and refuses."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from support import BINARIES, clean_environment

from torc_server import htpasswd
from torc_server.commands.htpasswd import command as htpasswd_group

PASSWORD = "long enough"
# Made by Apache's `htpasswd -nbB myName myPassword`, as its manual prints it.
APACHES = "myName:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "htpasswd"


def run(*arguments, said=""):
    """`torc-server htpasswd …` in this process; what is typed goes to its stdin. Gives the result of click."""
    return CliRunner().invoke(htpasswd_group, [str(a) for a in arguments], input=said)


def add(path, name, password=PASSWORD):
    result = run("add", path, name, "--stdin", "--cost", 4, said=f"{password}\n")
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments, said=""):
    """What it says when it refuses."""
    result = run(*arguments, said=said)
    assert result.exit_code != 0
    return str(result.exception) if isinstance(result.exception, htpasswd.HtpasswdError) else result.output


def right(path, name, password):
    return run("verify", path, name, "--stdin", said=f"{password}\n").exit_code == 0


def test_a_user_is_added_changed_verified_listed_and_removed(path):
    add(path, "bob")
    add(path, "alice")
    assert run("list", path).output == "bob\nalice\n"
    assert right(path, "bob", PASSWORD)
    assert not right(path, "bob", PASSWORD + "!")
    assert not right(path, "carol", PASSWORD)
    add(path, "bob", "something else")
    assert (right(path, "bob", PASSWORD), right(path, "bob", "something else")) == (False, True)
    assert run("list", path).output == "bob\nalice\n"
    assert run("remove", path, "bob").exit_code == 0
    assert run("list", path).output == "alice\n"
    assert "No user is left" in run("remove", path, "alice").output


def test_apaches_files_are_read_and_what_is_written_is_of_the_same_form(path):
    path.write_text(APACHES + "\n")
    assert right(path, "myName", "myPassword")
    add(path, "alice")
    apaches, ours = path.read_text().splitlines()
    assert apaches == APACHES
    assert ours.startswith("alice:$2y$04$")
    assert len(ours) == len("alice:") + 60


def test_order_comments_blank_lines_and_other_lines_stay_as_they_were(path):
    hashed = htpasswd.hash_password("x" * 9, cost=4)
    path.write_text(f"# people\n\nbob:{hashed}\n  # alice:old\nalice : {hashed}\ncarol:{hashed}")
    add(path, "alice")
    lines = path.read_text().splitlines()
    assert lines[:4] == ["# people", "", f"bob:{hashed}", "  # alice:old"]
    assert lines[4].startswith("alice:$2y$04$")
    assert lines[5:] == [f"carol:{hashed}"]
    add(path, "dave")
    assert path.read_text().splitlines()[:6] == lines
    run("remove", path, "bob")
    assert path.read_text().splitlines()[:2] == ["# people", ""]
    assert run("list", path).output == "alice\ncarol\ndave\n"


def test_of_a_name_that_stands_twice_the_last_counts_and_only_one_is_left(path):
    first, last = (htpasswd.hash_password(password, cost=4) for password in ("the first", "the last one"))
    path.write_text(f"bob:{first}\nalice:{first}\nbob:{last}\n")
    assert (right(path, "bob", "the first"), right(path, "bob", "the last one")) == (False, True)
    add(path, "bob")
    assert run("list", path).output == "alice\nbob\n"
    assert right(path, "bob", PASSWORD)


def test_the_file_is_for_its_owner_alone_and_is_replaced_not_overwritten(path):
    add(path, "bob")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with open(path) as reader:
        before = reader.read()
        add(path, "alice")
        reader.seek(0)
        assert reader.read() == before, "who reads it meanwhile has the whole old file"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(path.parent) == ["htpasswd"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_stays(path):
    add(path, "bob")
    os.chown(path, 12345, 12346)
    add(path, "alice")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 12346)


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(path)
    add(link, "bob")
    add(link, "alice")
    assert link.is_symlink()
    assert run("list", path).output == "bob\nalice\n"


def test_edits_at_once_all_count(path):
    with ThreadPoolExecutor(8) as pool:
        for i in range(20):
            pool.submit(htpasswd.edit, path, lambda lines, i=i: htpasswd.with_user(lines, f"u{i}", "x"), create=True)
    assert len(htpasswd.names(htpasswd.read_lines(path))) == 20


@pytest.mark.parametrize("name", ["a:b", "", " a", "a ", "#a", "a\nb", "a\tb", "anonymous"])
def test_names_that_the_file_or_the_server_could_not_take_are_refused(path, name):
    assert "name" in refused("add", path, name, "--stdin", said=PASSWORD)
    assert not path.exists()


def test_a_password_has_at_least_8_bytes_and_may_be_longer_than_bcrypt_reads(path):
    assert "at least 8 bytes" in refused("add", path, "bob", "--stdin", said="seven77\n")
    add(path, "bob", "ääää")
    assert "Only the first 72 bytes" in add(path, "bob", "x" * 73).output
    assert right(path, "bob", "x" * 72)


def test_without_anything_said_it_asks_twice_and_shows_nothing(path):
    result = run("add", path, "bob", "--cost", 4, said=f"{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert PASSWORD not in result.output
    assert right(path, "bob", PASSWORD)
    assert run("verify", path, "bob", said=f"{PASSWORD}\n").exit_code == 0
    assert "do not match" in run("add", path, "bob", said=f"{PASSWORD}\nother\n").output


def test_on_the_command_line_only_if_asked_and_the_help_warns(path):
    assert run("add", path, "bob", "-p", PASSWORD, "--cost", 4).exit_code == 0
    assert right(path, "bob", PASSWORD)
    assert "Others on this machine can see it" in " ".join(run("add", "--help").output.split())


@pytest.mark.parametrize("cost", [3, 32])
def test_the_cost_is_4_to_31(path, cost):
    assert "4<=x<=31" in refused("add", path, "bob", "--stdin", "--cost", cost, said=PASSWORD)


def test_what_is_not_there_is_said_so(path, tmp_path):
    assert "No such file" in refused("list", path)
    assert "No such file" in refused("remove", path, "bob")
    assert "No such file" in refused("verify", path, "bob", "--stdin", said="x")
    add(path, "bob")
    assert "no user 'alice'" in refused("remove", path, "alice")
    assert "No such file" in refused("add", tmp_path / "x" / "y", "bob", "--stdin", said=PASSWORD)


def test_as_a_command_it_says_one_line_and_exits_with_1(path):
    command = [BINARIES / "torc-server", "htpasswd", "list", path]
    got = subprocess.run(command, capture_output=True, text=True, env=clean_environment(path.parent))
    assert (got.returncode, got.stdout) == (1, "")
    assert got.stderr == f"torc-server: cannot read {path}: No such file or directory\n"
