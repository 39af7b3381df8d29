"""GET /version says the commit where it is known, and where access control is not enforced."""

import subprocess

import pytest
from support import MemoryClient

from torc_server import revision
from torc_server.app import create_app
from torc_server.settings import Settings


@pytest.fixture
def known(monkeypatch, tmp_path):
    """known("1a2b3c4") puts that into the package; known(None) leaves it out."""

    def known(text):
        monkeypatch.setattr(revision, "PACKAGE", tmp_path)
        if text:
            (tmp_path / revision.FILE).write_text(text + "\n")
        revision.git_hash.cache_clear()

    yield known
    revision.git_hash.cache_clear()


def test_the_hash_in_the_package_is_in_the_version(known):
    known("1a2b3c4")
    assert MemoryClient(create_app(Settings(), "")).get("/version").json["git_hash"] == "1a2b3c4"
    enforced = MemoryClient(create_app(Settings(enforce_access_control=True), ""))
    assert "git_hash" not in enforced.get("/version").json


def test_without_a_hash_there_is_none(known):
    known(None)
    assert "git_hash" not in MemoryClient(create_app(Settings(), "")).get("/version").json


def test_a_checkout_asks_git_once(known, monkeypatch, tmp_path):
    known(None)
    (tmp_path.parent / ".git").mkdir(exist_ok=True)
    calls = []

    def run(command, **kwargs):
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, "abc1234\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert [revision.git_hash(), revision.git_hash()] == ["abc1234"] * 2
    assert len(calls) == 1
    (tmp_path.parent / ".git").rmdir()


def test_no_git_and_no_commit_are_no_hash(tmp_path, monkeypatch):
    assert revision.ask_git(tmp_path) is None
    (tmp_path / ".git").mkdir()
    assert revision.ask_git(tmp_path) is None  # git finds nothing in it
    monkeypatch.setenv("PATH", "")
    assert revision.ask_git(tmp_path) is None
