"""A stand-in for an apiserver with fixed answers, for measurements: `python -m tests.bench.upstream CERTIFICATE KEY`.

Prints its port. Answers 401 without a bearer token or Impersonate-User, so that a tunnel which forgets its job does not win.

    /bulk?N   N bytes        /watch   one line, then silence        anything else   a 2 kB list
"""

import asyncio
import ssl
import sys

BLOCK = b"\0" * 262144
LIST = (
    b'{"kind":"PodList","apiVersion":"v1","items":[' + b'{"metadata":{"name":"pod-abcdef"}},' * 56 + b"{}]}"
)


def _head(length: int) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-cache, private\r\nContent-Length: %d\r\n\r\n"
        % length
    )


class Upstream(asyncio.Protocol):
    """One connection. Requests come whole and one at a time, as an agent sends them."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._received = b""
        self._bulk_left = 0
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if b"\r\nAuthorization: Bearer " not in head or b"\r\nImpersonate-User: " not in head:
            self.transport.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        elif head.startswith(b"GET /bulk?"):
            self._bulk_left = int(head.split(b" ", 2)[1][6:])
            self.transport.write(_head(self._bulk_left))
            self._pump()
        elif head.startswith(b"GET /watch"):
            chunk = b'{"type":"BOOKMARK"}\n'
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(chunk), chunk)
            )
        else:
            self.transport.write(_head(len(LIST)) + LIST)

    def _pump(self) -> None:
        while self._bulk_left and not self._paused:
            piece = BLOCK[: self._bulk_left]
            self._bulk_left -= len(piece)
            self.transport.write(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()


async def main(certificate: str, key: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main(*sys.argv[1:]))
