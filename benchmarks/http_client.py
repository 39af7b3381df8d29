"""A small HTTP client: one kept connection; anything but 200 is an error.

By hand, because driver and server share the cores: 63 µs of CPU a request, http.client takes 180.
"""

import json
import socket
from urllib.parse import urlsplit

PREFIX = "/torc-service/v1"


class Refused(RuntimeError):
    """An answer other than 200; `status` is its code."""

    def __init__(self, request, status, text):
        super().__init__(request, status, text)  # as given: it goes from process to process
        self.status = status

    def __str__(self):
        request, status, text = self.args
        return f"{request}: {status} {text}"


class Client:
    def __init__(self, url, timeout=120):
        address = urlsplit(url)
        self._host = address.netloc
        self.socket = socket.create_connection((address.hostname, address.port or 80), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        return self.request("GET", path)

    def post(self, path, body=None):
        return self.request("POST", path, body)

    def delete(self, path):
        return self.request("DELETE", path)

    def request(self, method, path, body=None):
        """Send a request, return the parsed answer. Raises Refused, OSError."""
        return json.loads(self.request_text(method, path, body))

    def request_text(self, method, path, body=None):
        """The same, without parsing."""
        self.send(method, path, body)
        status, text = self.answer()
        if status != 200:
            raise Refused(f"{method} {path}", status, text[:500].decode(errors="replace"))
        return text

    def send(self, method, path, body=None):
        self.socket.sendall(self.as_bytes(method, path, body))

    def as_bytes(self, method, path, body=None):
        """A request as it is sent."""
        data = b"" if body is None else json.dumps(body).encode()
        kind = "" if body is None else "Content-Type: application/json\r\n"
        head = f"{method} {PREFIX}{path} HTTP/1.1\r\nHost: {self._host}\r\n{kind}Content-Length: {len(data)}\r\n\r\n"
        return head.encode() + data

    def answer(self):
        """(status, body) of the next answer."""
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._receive()
        head, body = bytes(received[:end]).lower(), received[end + 4 :]
        if b"transfer-encoding: chunked" in head:
            return int(head[9:12]), self._chunks(body)
        total = int(head.partition(b"content-length:")[2].split()[0])
        while len(body) < total:
            body += self._receive()
        return int(head[9:12]), bytes(body)

    def _chunks(self, received):
        body = bytearray()
        while True:
            while (end := received.find(b"\r\n")) < 0:
                received += self._receive()
            size = int(received[:end].split(b";")[0], 16)
            while len(received) < end + 2 + size + 2:
                received += self._receive()
            body += received[end + 2 : end + 2 + size]
            del received[: end + 2 + size + 2]
            if size == 0:
                return bytes(body)

    def _receive(self):
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data

    def close(self):
        self.socket.close()
