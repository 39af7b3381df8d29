"""docs/backup.md and docs/moving-in.md: their commands, typed as printed, with other folders."""

import re
import subprocess
import time
from pathlib import Path

import pytest
from support import BINARIES, clean_environment, wait_for
from test_import import make

DOCS = Path(__file__).parent.parent / "docs"


def blocks(name):
    """The shell commands of a guide, block by block."""
    return re.findall(r"```sh\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


class Shell:
    """Types blocks: /var/lib/torc is the data folder, /var/backups/torc a folder of the test."""

    def __init__(self, folder, data_dir):
        self.folder = folder
        self.data_dir = data_dir
        self.backups = folder / "backups"
        self.environment = clean_environment(folder, {"TORC_DATA_DIR": str(data_dir), "PGTZ": "UTC"})
        self.environment["PATH"] = f"{BINARIES}:{self.environment['PATH']}"

    def type(self, block, **replacements):
        block = block.replace("/var/lib/torc", str(self.data_dir)).replace("/var/backups/torc", str(self.backups))
        for old, new in replacements.values():
            assert old in block
            block = block.replace(old, new)
        result = subprocess.run(
            ["bash", "-euc", block], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert result.returncode == 0, block + result.stderr
        return result.stdout


def names(server):
    return [workflow["name"] for workflow in server.client.get("/workflows").json["items"]]


def add(server, name):
    return server.client.post("/workflows", json={"name": name, "user": "u"}).json["id"]


@pytest.mark.long
def test_the_commands_of_the_backup_guide_work(start_server, folder):
    backup, restore, archive, base, back, reset, prune, prune_rows = blocks("backup.md")
    data = folder / "data"
    shell = Shell(folder, data)
    server = start_server(data_dir=data)
    add(server, "monday")
    assert "1 workflows" in shell.type(backup)
    add(server, "tuesday")
    server.stop()
    assert "1 workflows" in shell.type(restore)

    server = start_server(data_dir=data)
    assert names(server) == ["monday"]
    (shell.backups / "wal").mkdir()
    subprocess.run(["chown", "--reference", data / "data", shell.backups / "wal"], check=True)
    shell.type(archive)
    server.stop()
    server = start_server(data_dir=data)
    assert "archived_count" in shell.type(base)
    add(server, "good")
    time.sleep(1.5)
    moment = shell.type("torc-server pg psql -Atc 'SELECT now()'").strip()
    time.sleep(1.5)
    for number in range(1, 3):
        server.client.delete(f"/workflows/{number}")
    wal = shell.type("torc-server pg psql -Atc 'SELECT pg_walfile_name(pg_switch_wal())'").strip()
    wait_for(lambda: (shell.backups / "wal" / wal).exists(), 60, "the archive")
    server.stop()
    shell.type(back, moment=("2026-03-05 14:30:00+00", moment))
    server = start_server(data_dir=data)
    assert names(server) == ["monday", "good"]
    shell.type(reset)
    server.stop()
    server = start_server(data_dir=data)
    add(server, "goes on")
    assert names(server) == ["monday", "good", "goes on"]

    assert "nothing" in shell.type(prune)
    shell.type(prune_rows)


def test_the_commands_of_the_guide_to_moving_in_work(start_server, folder):
    move, go_on, check = blocks("moving-in.md")
    server = start_server()
    shell = Shell(folder, server.data_dir)
    make(folder, "0.22.2").rename(folder / "torc.db")
    assert "Imported 2 workflows" in shell.type(move)
    assert names(server) == ["survey", "old"]
    assert "Imported 0 workflows" in shell.type(go_on)
    assert "(0 rows)" in shell.type(check)
