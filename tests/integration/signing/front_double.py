"""A stub's public port, as far as issuing certificates goes: real sockets, real TLS, the real endpoints.

Everything else is answered as an apiserver would say who asks, if the certificate shown stands.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from certs.errors import PeerRefused
from certs.peer import PeerCertificate, user_names
from certs.signed import ROOT
from stub.settings import StubSettings
from stub.signing.contexts import follow_public_context
from stub.signing.event import SigningEvent
from stub.signing.opening import open_signing, open_standing
from tunnel.aio.basestream import BaseStream
from tunnel.aio.listen import Listener, listen
from tunnel.aio.stream import ByteStream


class FrontDouble:
    """See the module.

    Args:
        settings: of the stub.
    """

    listener: Listener

    def __init__(self, settings: StubSettings) -> None:
        self.standing = open_standing(settings)
        self.events: list[SigningEvent] = []
        self.signing = open_signing(settings, self.standing, [self])
        self.context = follow_public_context(settings, ["http/1.1"], agents=True)
        self.open: list[_Connection] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.served: list[str] = []

    @property
    def port(self) -> int:
        return self.listener.addresses[0][1]

    def signing_completed(self, event: SigningEvent) -> None:
        self.events.append(event)

    def choose(self, stream: BaseStream) -> "_Connection":
        self.open.append(_Connection(self))
        return self.open[-1]

    def callers(self) -> list[tuple["_Connection", PeerCertificate]]:
        """What is open, with the certificate that opened it: for a sweep."""
        shown = [(each, each.certificate) for each in self.open if not each.stream.closing]
        return [(each, self.standing.read(text)) for each, text in shown if text is not None]

    async def answer(self, method: bytes, path: bytes, body: bytes, certificate: bytes | None) -> bytes:
        if path.startswith(ROOT.encode()):
            status, _, text = await self.signing.answer(method, path, body, certificate, "127.0.0.1")
        else:
            status, text = self._whoami(certificate)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n"
        return f"{head}Connection: close\r\n\r\n".encode() + text

    def _whoami(self, certificate: bytes | None) -> tuple[int, bytes]:
        try:
            peer = self.standing.read(certificate or b"")
            user, _ = user_names(peer)
            problem = self.standing.problem(peer)
        except PeerRefused as refused:
            user, problem = "", str(refused)
        self.served.append(user if problem is None else "nobody")
        return (401 if problem else 200), json.dumps({"major": "1", "gitVersion": f"v-{user}"}).encode()


class _Connection:
    """One request, one answer, or an open connection that asks nothing."""

    stream: ByteStream

    def __init__(self, front: FrontDouble) -> None:
        self._front = front
        self._data = b""
        self.certificate: bytes | None = None
        self.closed = asyncio.Event()

    def stream_opened(self, stream: ByteStream) -> None:
        self.stream = stream
        self.certificate = stream.tls.certificate if stream.tls is not None else None

    def stream_received(self, data: memoryview) -> None:
        self._data += bytes(data)
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        method, path, _ = head.split(b" ", 2)
        task = asyncio.get_running_loop().create_task(self._answer(method, path, body))
        self._front.tasks.add(task)
        task.add_done_callback(self._front.tasks.discard)

    async def _answer(self, method: bytes, path: bytes, body: bytes) -> None:
        self.stream.write(await self._front.answer(method, path, body, self.certificate))
        self.stream.close()

    def stream_ended(self) -> None:
        self.stream.close()

    def stream_write_paused(self) -> None: ...
    def stream_write_resumed(self) -> None: ...

    def stream_closed(self, error: Exception | None) -> None:
        self.closed.set()


def _length(head: bytes) -> int:
    lines = (line.partition(b":") for line in head.lower().split(b"\r\n"))
    return next((int(value) for name, _, value in lines if name == b"content-length"), 0)


@asynccontextmanager
async def fronting(**settings: Any) -> AsyncIterator[FrontDouble]:
    """Serve on a free port of the loopback while the block runs."""
    front = FrontDouble(StubSettings(**settings))
    front.listener = await listen(
        "127.0.0.1", 0, front.context.value, front.choose, on_handshake_failed=lambda peer, reason: None
    )
    try:
        yield front
    finally:
        front.listener.close()
        front.listener.abort_pending()
        await asyncio.gather(*front.tasks, return_exceptions=True)
        for connection in front.open:
            connection.stream.abort()
            await connection.closed.wait()
