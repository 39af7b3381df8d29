"""HTTP over a unix socket, for tests."""

import http.client
import socket

from support import HttpClient


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=60):
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class UnixClient(HttpClient):
    """A client of the server on a unix socket."""

    def __init__(self, path):
        super().__init__("http://localhost")
        self._path = path

    def _new_connection(self):
        return UnixConnection(self._path)
