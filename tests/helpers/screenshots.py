"""Writes pictures of the dashboard's pages into build/screenshots/: both themes, wide and as on a phone.

A separate server, on a new database, shows the workflows of showcase.py in the Chromium of this machine.
"""

import base64
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import psycopg
from browser import Browser, chromium
from showcase import Showcase
from support import Server

from torc_server import embedded

THEMES = ("light", "dark")
SIZES = {"wide": (1280, 800, 1), "phone": (390, 844, 2)}
TARGET = Path("build/screenshots")


def main(url=None):
    folder = Path(tempfile.mkdtemp(prefix="torc-screenshots-"))
    folder.chmod(0o755)  # PostgreSQL's account passes through
    try:
        with chromium(folder) as address:
            if url:
                take(address, url, {"page": sys.argv[2]})
                return
            server = Server(folder / "server").wait_until_it_listens()
            try:
                with psycopg.connect(embedded.conninfo(server.data_dir), autocommit=True) as connection:
                    pages = fill(Showcase(connection))
                take(address, server.url, pages)
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder)


def fill(showcase):
    """Make the workflows; return {name of the picture: path}."""
    showcase.empty()
    showcase.single()
    showcase.mixed()
    showcase.large(20_000)
    study = showcase.study()
    failed, reduced = (
        showcase.value("SELECT id FROM torc.job WHERE workflow_id = %s AND name = %s", study, name)
        for name in ("simulate_040", "reduce_05")
    )
    path = f"/ui/workflows/{study}"
    return {
        "workflows": "/", "workflow": path, "jobs": f"{path}/jobs", "graph": f"{path}/graph",
        "graph-of-jobs": f"{path}/graph?fold=no", "timeline": f"{path}/timeline", "use": f"{path}/use",
        "failed-job": f"/ui/jobs/{failed}", "canceled-job": f"/ui/jobs/{reduced}",
        "retry": f"/ui/workflows/act?action=retry&id={study}", "nodes": "/ui/nodes", "server": "/ui/server",
        "new": "/ui/new", "interface": "/docs",
    }  # fmt: skip


def take(address, url, pages):
    TARGET.mkdir(parents=True, exist_ok=True)
    browser = Browser(address)
    try:
        for (name, path), theme, (size, (width, height, scale)) in itertools.product(
            pages.items(), THEMES, SIZES.items()
        ):
            browser.look_like(theme, width, height, scale)
            browser.open(url + path)
            browser.wait_for("document.readyState == 'complete'")
            browser.wait_for(
                "Array.from(document.querySelectorAll('[data-include]')).every(e => 'loaded' in e.dataset)"
            )
            browser.evaluate("new Promise(resolve => setTimeout(resolve, 300))")
            picture = TARGET / f"{name}-{theme}-{size}.png"
            picture.write_bytes(base64.b64decode(browser.picture()))
            print(picture)
    finally:
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:2])
