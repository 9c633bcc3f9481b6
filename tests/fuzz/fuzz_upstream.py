"""Target: what an apiserver answers, read by the agent."""

from collections.abc import Iterable
from typing import Any

from agent.upstream.connection import UpstreamConnection
from agent.upstream.known import KnownAnswers
from tests.fuzz.material import Material, cut
from tests.unit.fakes import FakeStream
from tunnel.core.errors import BadGateway
from tunnel.core.http.body import NONE
from tunnel.core.http.fields import check_upstream_fields, sanitise_response
from tunnel.core.http.location import with_own_location
from tunnel.core.http.message import ResponseHead

SEEDS = (
    b"\5\0HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    b"\5\0HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3;x=y\r\ntwo\r\n0\r\nTr: 1\r\n\r\n",
    b"\5\1HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
    b"\5\2HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly",
    b"\5\0HTTP/1.1 307 T\r\nLocation: https://10.0.0.1:6443/api/\r\nLocation: //evil\r\nContent-Length: 0\r\n\r\n",
    b"\5\0HTTP/1.1 200 OK\r\n\r\nuntil the close",
    b"\5\0HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbodyX",
    b"\5\0HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
    b"\5\0HTTP/1.1 200 OK\r\nAudit-Id: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\nDate: now\r\n\r\n{}",
    b"\5\0HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly",
)

METHODS = (b"GET", b"HEAD", b"POST")
ORIGIN = b"https://10.0.0.1:6443"


class Pool:
    """Takes the connection back, and counts how often."""

    def __init__(self) -> None:
        self.free = 0

    def connection_free(self, connection: UpstreamConnection) -> None:
        self.free += 1

    def connection_gone(self, connection: UpstreamConnection) -> None:
        """It may be told so more than once."""


class Waiting:
    """Whoever waits for the answer; checks as it comes that it is one answer and no more."""

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.left: int | None = None
        self.over = False

    def upstream_head(self, head: ResponseHead, length: int) -> None:
        assert self.left is None, "a second head"
        self.left = length
        self.said.append((head.status, judged(head), length))
        self.said.append(b"")

    def upstream_data(self, data: bytes | memoryview) -> None:
        assert self.left is not None
        assert not self.over
        assert self.left != NONE, "a body where none may be"
        self.said[-1] += bytes(data)
        assert self.left < 0 or len(self.said[-1]) <= self.left, "more than was announced"

    def upstream_end(self) -> None:
        assert not self.over
        assert self.left is not None
        assert self.left < 0 or len(self.said[-1]) == self.left, "an end before all was there"
        self._end("end")

    def upstream_switched(self, head: ResponseHead, early: memoryview) -> None:
        assert head.status == 101
        self._end(judged(head))

    def upstream_lost(self, reason: str, *, answered: bool, reused: bool) -> None:
        assert reason
        self._end("lost")

    def upstream_write_paused(self) -> None:
        raise AssertionError("nothing was written")

    def upstream_write_resumed(self) -> None:
        raise AssertionError("nothing was written")

    def _end(self, what: object) -> None:
        assert not self.over, "two ends"
        self.over = True
        self.said.append(what)


def judged(head: ResponseHead) -> object:
    """What of a head may travel on."""
    try:
        check_upstream_fields(head.fields)
        return with_own_location(sanitise_response(head.fields), ORIGIN, b"", target=b"/api/v1?x")
    except BadGateway:
        return "refused"


def heard(method: bytes, chunks: Iterable[bytes], known: KnownAnswers | None = None) -> list[object]:
    """What an exchange hears of an answer that comes in `chunks`, and then the connection's end."""
    pool, waiting, stream = Pool(), Waiting(), FakeStream()
    connection = UpstreamConnection(pool, known or KnownAnswers())
    stream.open(connection)
    connection.begin(waiting, method, b"", whole=True)
    for chunk in chunks:
        stream.receive(chunk)
    if not stream.closing:
        stream.receive_end()
    assert waiting.over
    assert pool.free <= 1
    return waiting.said


def one_input(data: bytes) -> None:
    """Invariants: an exchange hears the same whole, byte by byte and in pieces: one head, a body of just the announced size,
    one end, or a loss; the same where such heads were seen before; nothing is raised but BadGateway."""
    material = Material(data)
    size, method = material.byte() + 1, METHODS[material.byte() % 3]
    stream = material.rest()
    by_byte = heard(method, cut(stream, 1))
    assert by_byte == heard(method, cut(stream, size))
    known = KnownAnswers()
    for seed in SEEDS:
        heard(b"GET", [seed[2:]], known)
    for _ in range(2):
        assert by_byte == heard(method, [stream], known)
