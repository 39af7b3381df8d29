"""A real nginx in front of servers, for tests: the printed configuration in a main file of the test's own."""

import shutil
import signal
import socket
import subprocess
from pathlib import Path

from support import HttpClient, listens, wait_for

from torc_server.nginx_config import nginx_config

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
MAIN = """user root;
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    include {folder}/torc.conf;
}}
"""


class ProxyClient(HttpClient):
    """A client of nginx, which also answers what the contract of the server does not declare."""

    def _check(self, method, target, response):
        if response.headers["content-type"] == "application/json" and response.status_code >= 400:
            assert response.json["error"].keys() >= {"error", "message"}


class Nginx:
    """`with Nginx(folder, settings, upstreams=[…]) as nginx:` .url, .port, .folder, .config (the printed text)."""

    def __init__(self, folder, settings, **options):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = nginx_config(
            settings, "localhost", listen=self.port, bind="127.0.0.1", access_log=f"{folder}/access.log", **options
        )
        (self.folder / "torc.conf").write_text(self.config)
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=folder))

    def check(self):
        """The output of nginx -t; raises what it refuses."""
        tried = self._run("-t")
        assert tried.returncode == 0, tried.stderr
        return tried.stderr

    def __enter__(self):
        self.check()
        self.process = subprocess.Popen([NGINX, "-c", self.folder / "nginx.conf"], stderr=subprocess.DEVNULL)
        wait_for(lambda: listens(self.port), what="nginx")
        return self

    def __exit__(self, *exception):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)

    def _run(self, *arguments):
        return subprocess.run(
            [NGINX, "-c", self.folder / "nginx.conf", *arguments], capture_output=True, text=True, timeout=20
        )


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
