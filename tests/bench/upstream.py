"""A stand-in for the apiserver in benchmarks: prints its port, then answers.

    python -m tests.bench.upstream CERTIFICATE KEY

    /bulk?mb=N  N MiB                          /sink    reads the body and answers its length
    /follow     200 bytes each 100 ms          /watch   one line, then silence
    /follow?bytes=N  so many each 100 ms
    anything else                              a 2 kB list

It answers 401 unless the request carries a bearer token and an impersonated user, so that a tunnel which forgets its job does
not win.
"""

import asyncio
import ssl
import sys
from typing import Final

import httptools

from tests.bench.worker import run

BLOCK: Final = bytes(262144)
PUMPED: Final = 8
"""Blocks that are written in one go."""

LIST: Final = (
    b'{"kind":"PodList","apiVersion":"v1","items":[' + b'{"metadata":{"name":"pod-abcdef"}},' * 56 + b"{}]}"
)
LINE: Final = b"x" * 199 + b"\n"
FOLLOW: Final = b"/follow?bytes="
FIELDS: Final = (
    b"Audit-Id: 4d9a7e4f-9b0f-4b7b-8a1e-8f53d0a0a3c1\r\nCache-Control: no-cache, private\r\n"
    b"Content-Type: application/json\r\nX-Kubernetes-Pf-Flowschema-Uid: 4d9a7e4f-9b0f-4b7b-8a1e-8f53d0a0a3c1\r\n"
)
STREAM_HEAD: Final = b"HTTP/1.1 200 OK\r\n" + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n"
NEEDED: Final = frozenset({b"authorization", b"impersonate-user"})


def _head(length: int, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n" % (status, FIELDS, length)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


WATCH: Final = STREAM_HEAD + _chunk(b'{"type":"BOOKMARK","object":{}}\n')


class Upstream(asyncio.Protocol):
    """One connection. Requests come one at a time, as an agent sends them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._received = 0
        self._named: set[bytes] = set()
        self._bulk_left = 0
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._bulk_left = 0
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    # What the parser says --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target, self._received, self._named = b"", 0, set()

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._named.add(name.lower())

    def on_body(self, body: bytes) -> None:
        self._received += len(body)

    def on_message_complete(self) -> None:
        target = self._target
        if not self._named >= NEEDED:
            self.transport.write(_head(0, b"401 Unauthorized"))
        elif target.startswith(b"/bulk?mb="):
            self._bulk_left = int(target[9:]) << 20
            self.transport.write(_head(self._bulk_left))
            self._pump()
        elif target.startswith(b"/sink"):
            counted = b"%d\n" % self._received
            self.transport.write(_head(len(counted)) + counted)
        elif target.startswith(b"/follow"):
            self.transport.write(STREAM_HEAD)
            self._follow(_chunk(LINE * (int(target[len(FOLLOW) :] or len(LINE)) // len(LINE))))
        elif target.startswith(b"/watch"):
            self.transport.write(WATCH)
        else:
            self.transport.write(_head(len(LIST)) + LIST)

    def _pump(self) -> None:
        for _ in range(PUMPED):
            if not self._bulk_left or self._paused or self.transport.is_closing():
                return
            piece = BLOCK[: self._bulk_left]
            self._bulk_left -= len(piece)
            self.transport.write(piece)
        # A connection that was cut swallows what is written and asks for no pause; the loop must get to say so.
        asyncio.get_running_loop().call_soon(self._pump)

    def _follow(self, lines: bytes) -> None:
        if not self._paused:
            self.transport.write(lines)
        self._timer = asyncio.get_running_loop().call_later(0.1, self._follow, lines)


async def main(certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(
        Upstream, "127.0.0.1", 0, ssl=context, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
