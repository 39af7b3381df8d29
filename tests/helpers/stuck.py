"""Thousands of clients of a TLS server that get stuck, each in its own way; in a process of their own.

`python stuck.py PORT CA-FILE WORKFLOW {"half_heads": 2000, …}` prints "stuck" when all are, and then, once the server
has dropped all of those that have a deadline, "gone" and how many of the others are still served.
"""

import asyncio
import json
import resource
import ssl
import sys

PREFIX = "/torc-service/v1"
JSON = "Host: localhost\r\nContent-Type: application/json\r\n"
CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
AT_ONCE = 20


class Crowd:
    def __init__(self, port, context, workflow):
        self._port = port
        self._context = context
        self._workflow = workflow
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._held = []

    async def hold(self, kind, number):
        """Open so many connections of a kind; each is stuck when this returns."""
        await asyncio.gather(*(self._hold(kind) for _ in range(number)))

    async def _hold(self, kind):
        async with self._gate:
            context = None if kind == "half_handshakes" else self._context
            reader, writer = await asyncio.open_connection("localhost", self._port, ssl=context, limit=1024)
            writer.write(self._first_bytes(kind))
            if kind in ("unread_lists", "idle", "streams"):
                await reader.readuntil(b"\r\n\r\n")
        self._held.append((kind, reader, writer))

    def _first_bytes(self, kind):
        post = f"POST {PREFIX}/workflows HTTP/1.1\r\n{JSON}"
        return {
            "half_handshakes": CLIENT_HELLO,
            "half_heads": f"GET {PREFIX}/ping HTTP/1.1\r\nHost: local".encode(),
            "half_bodies": f"{post}Content-Length: 5000\r\n\r\n{{".encode(),
            "pipes": f"{post}Transfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode(),
            "unread_lists": self._get(f"/events?workflow_id={self._workflow}"),
            "idle": self._get("/ping"),
            "streams": self._get(f"/workflows/{self._workflow}/events/stream"),
        }[kind]

    @staticmethod
    def _get(path):
        return f"GET {PREFIX}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    async def wait_until_dropped(self):
        """Read nothing of the lists meanwhile: what is left then are bytes that were on their way, and the end."""
        mortal = [held for held in self._held if held[0] not in ("idle", "streams")]
        others = [held for held in self._held if held[0] in ("idle", "streams")]
        for kind, reader, _ in sorted(mortal, key=lambda held: held[0] == "unread_lists"):
            if kind != "unread_lists":
                await self._read_to_end(reader)
        await asyncio.sleep(5)
        for kind, reader, _ in mortal:
            if kind == "unread_lists":
                await self._read_to_end(reader)
        return sum(not reader.at_eof() for _, reader, _ in others)

    @staticmethod
    async def _read_to_end(reader):
        try:
            while await reader.read(1 << 16):
                pass
        except (ConnectionError, ssl.SSLError):
            pass


async def main(port, ca_file, workflow, numbers):
    crowd = Crowd(port, ssl.create_default_context(cafile=ca_file), workflow)
    for kind, number in numbers.items():
        await crowd.hold(kind, number)
    print("stuck", flush=True)
    print("gone", await crowd.wait_until_dropped(), flush=True)


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])))
