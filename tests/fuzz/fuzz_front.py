"""Target: a user's connection to the stub, from its bytes to what an agent is asked."""

import re

from tests.fuzz.material import Material, cut
from tests.fuzz.standins import StillLoop, still_loop
from tests.unit.stub.parts import FarAgent, FarChannel, Stub, User
from tunnel.core import limits
from tunnel.core.wire.exchange import Request

_STATUS = re.compile(rb"HTTP/1\.1 [1-5][0-9][0-9] [A-Za-z' -]*\r\n|HTTP/1\.1 100 Continue\Z")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n")
HEAD = b"Host: x\r\nAccept: */*\r\n\r\n"
SEEDS = (
    b"\5GET /api HTTP/1.1\r\n" + HEAD + b"GET /version HTTP/1.1\r\n" + HEAD,
    b"\xffGET /api HTTP/1.1\r\n" + HEAD,
    b"\x2fGET /api HTTP/1.1\r\n" + HEAD + b"GET /apis HTTP/1.1\r\n" + HEAD,
    b"\5POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcDELETE /b HTTP/1.1\r\n" + HEAD,
    b"\3POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"\5GET /e HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nGET /b HTTP/1.1\r\n"
    + HEAD,
    b"\5HEAD /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nTRACE / HTTP/1.1\r\n" + HEAD,
    b"\5GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nGET / HTTP/1.1\r\n" + HEAD,
)


class Talk:
    """A user, a stub and an agent that answers whatever it is asked at once.

    Attributes:
        asked: method, target and fields of what reached the agent.
        bodies: what it got of their bodies inline.
        heard: what the user got.
    """

    def __init__(self, loop: StillLoop, stub: Stub, agent: FarAgent) -> None:
        self._loop = loop
        self.agent = agent
        self.channel: FarChannel = agent.channel()
        self.user: User = stub.user()
        self.asked: list[tuple[object, ...]] = []
        self.heard = b""
        self._busy = False

    def feed(self, stream: bytes, size: int) -> "Talk":
        """Send `stream` in pieces, as far as the stub reads; then time passes until nothing is waited for."""
        for piece in cut(stream, size):
            if self.user.stream.closing or not self.user.stream.reading:
                break
            self.user.send(piece)
            self._answer()
        self.heard += self.user.take()
        self.user.stream.lose()
        self._loop.advance(limits.IDLE_SECONDS)
        return self

    def _answer(self) -> None:
        self._loop.turn()
        while self.agent.stream.written:
            for request in self.agent.asked():
                self._take(request)
            self._loop.turn()

    def _take(self, request: Request) -> None:
        head = request.head
        self.asked.append((head.method, head.target, head.fields, request.upgrade))
        if self.channel.free:
            status = 403 if request.upgrade else 200
            body = b"" if head.method == b"HEAD" else b"{}"
            self.channel.head(request.id, status, [], len(body), bodiless=head.method == b"HEAD")
            if body:
                self.channel.data(body)
            self.channel.end()


def check_answers(heard: bytes) -> None:
    """What the user got is whole answers of HTTP, one behind the other, and nothing else."""
    while heard:
        head, end, heard = heard.partition(b"\r\n\r\n")
        assert end, "half a head"
        assert _STATUS.match(head), head
        length = _LENGTH.search(head + b"\r\n")
        size = int(length[1]) if length else 0
        assert len(heard) >= size, "half a body"
        heard = heard[size:]


def one_input(data: bytes) -> None:
    """Invariants: an agent is asked the same and the user hears the same, whole, byte by byte and in pieces; nothing is raised,
    and no timer is left that fails."""
    material = Material(data)
    size, stream = material.byte() + 1, material.rest()
    with still_loop() as loop:
        stub = Stub()
        agent = stub.agent()
        by_byte = Talk(loop, stub, agent).feed(stream, 1)
        # Whole twice: what the stub has learnt from the first may spare it the parsing of the second.
        for width in (size, len(stream) or 1, len(stream) or 1):
            other = Talk(loop, stub, agent).feed(stream, width)
            shorter = min(len(by_byte.asked), len(other.asked))
            assert by_byte.asked[:shorter] == other.asked[:shorter]
        if b"HEAD" not in stream:  # its answers announce bodies that do not come
            check_answers(by_byte.heard)
