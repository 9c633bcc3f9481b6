"""Target: what an agent answers on a response channel, down to the bytes that a user gets."""

import re

from tests.fuzz.material import Material, cut
from tests.fuzz.standins import StillLoop, still_loop
from tests.unit.stub.parts import Stub, User
from tunnel.core import limits
from tunnel.core.channel.agent_side import data_header
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head
from tunnel.core.wire.framing import FRAME_HEADER, FrameType

END = FRAME_HEADER.pack(FrameType.END, 0)


def head(
    status: int, fields: list[tuple[bytes, bytes]], length: int = BODY_UNKNOWN, number: int = 1
) -> bytes:
    """The frame that begins an answer."""
    return Head(RequestId(number), ResponseHead(status, fields), length, False).encode()


SEEDS = (
    b"\x28\0" + head(200, [(b"Content-Type", b"text/plain")], 2) + data_header(2) + b"ok" + END,
    b"\7\0"
    + head(200, [(b"Warning", b'299 - "a"')])
    + data_header(3)
    + b"one"
    + data_header(3)
    + b"two"
    + END,
    b"\x28\1" + head(101, [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")]) + b"raw",
    b"\x28\0" + head(307, [(b"Location", b"/api/v1"), (b"Set-Cookie", b"a=b")], 0) + END,
    b"\x28\0" + head(99, [], 0) + END + head(200, [], 0) + END,
    b"\x28\2" + head(200, [(b"Transfer-Encoding", b"chunked")], 9) + END,
    b"\x28\0" + head(200, [], 2, number=7) + data_header(2) + b"ok" + END,
)

LINES = (
    b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /e HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n",
    b"HEAD /api HTTP/1.1\r\nHost: x\r\n\r\n",
)
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ?[A-Za-z' -]*\Z")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*\Z")
_CHUNK = re.compile(rb"([0-9a-f]{1,8})\r\n")


def told(loop: StillLoop, line: bytes, pieces: list[bytes]) -> tuple[bytes, User]:
    """Return what a user gets who asks `line` of an agent that then sends `pieces`, and breaks off; and the user."""
    stub = Stub()
    agent = stub.agent()
    channel = agent.channel()
    user = stub.user()
    user.send(line)
    agent.asked()
    for piece in pieces:
        if channel.stream.closing or not channel.stream.reading:
            break
        channel.stream.receive(piece)
        loop.turn()
    if not channel.stream.closing:
        channel.stream.lose(ConnectionResetError("cut"))
    agent.stream.lose()
    loop.turn()
    loop.advance(limits.CLOSE_SECONDS)
    return user.take(), user


def check_answer(heard: bytes, *, bodiless: bool, cut_off: bool) -> None:
    """It is one whole answer of HTTP, or one that is visibly cut; or a pipe."""
    first, end, rest = heard.partition(b"\r\n\r\n")
    if not end:
        assert cut_off
        assert not heard
        return
    line, *fields = first.split(b"\r\n")
    status = _STATUS.match(line)
    assert status, line
    for field in fields:
        assert _FIELD.match(field), field
    if status[1] == b"101" or bodiless or status[1] in (b"204", b"304"):
        assert status[1] == b"101" or not rest
        return
    folded = {field.partition(b":")[0].lower(): field.partition(b": ")[2] for field in fields}
    if b"content-length" in folded:
        assert b"transfer-encoding" not in folded
        size = int(folded[b"content-length"])
        assert len(rest) == size or (len(rest) < size and cut_off)
    else:
        assert folded[b"transfer-encoding"] == b"chunked"
        assert chunks_end(rest) or cut_off


def chunks_end(rest: bytes) -> bool:
    """Whether a chunked body is there to its end; nothing may stand behind that, and nothing between chunks."""
    while rest:
        size = _CHUNK.match(rest)
        if size is None:
            return False
        count, rest = int(size[1], 16), rest[size.end() :]
        if not count:
            assert rest == b"\r\n", "bytes behind the last chunk"
            return True
        if len(rest) < count + 2:
            return False
        assert rest[count : count + 2] == b"\r\n"
        rest = rest[count + 2 :]
    return False


def one_input(data: bytes) -> None:
    """Invariants: whatever an agent sends, its user gets one valid answer or one that is visibly cut, whole and in pieces;
    nothing is raised."""
    material = Material(data)
    size, kind = material.byte() + 1, material.byte() % len(LINES)
    stream = material.rest()
    with still_loop() as loop:
        for width in {size, len(stream) or 1}:
            heard, user = told(loop, LINES[kind], list(cut(stream, width)))
            check_answer(heard, bodiless=kind == 2, cut_off=user.stream.was_cut or user.stream.aborted)
