"""Target: the frame buffer and every payload decoder."""

from collections.abc import Iterable
from typing import Any, Final

from tests.fuzz.material import Material, cut
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import Active, AgentHello, Drain, Reject, Report, StubHello
from tunnel.core.wire.exchange import Cancel, Head, Refused, Request, caller_pairs
from tunnel.core.wire.framing import FRAME_HEADER, FrameBuffer

DECODERS: Final[tuple[Any, ...]] = (
    StubHello,
    AgentHello,
    Reject,
    Active,
    Report,
    Drain,
    Request,
    Cancel,
    Refused,
    Head,
)

SEEDS = (
    b"\0\3" + StubHello("stub-1").encode()[FRAME_HEADER.size :],
    b"\1\5" + AgentHello(name="a", token="secret").encode()[FRAME_HEADER.size :],
    b"\3\1" + Active("uid", 7).encode(),
    b"\7\2" + Cancel(RequestId(3)).encode(),
)


def frames(chunks: Iterable[bytes]) -> list[tuple[int, bytes]] | None:
    """The frames in `chunks`, or None where they break the protocol."""
    buffer = FrameBuffer(4096)
    try:
        return [frame for chunk in chunks for frame in buffer.receive(chunk)]
    except PeerViolation:
        return None


def one_input(data: bytes) -> None:
    """Invariants: frames are the same whole, byte by byte and in pieces; a payload is decoded or a violation, and what was
    decoded is encoded to something that decodes to the same."""
    material = Material(data)
    decoder, size = DECODERS[material.byte() % len(DECODERS)], material.byte() + 1
    stream = material.rest()
    whole = frames([stream])
    assert frames(cut(stream, 1)) == whole
    assert frames(cut(stream, size)) == whole
    for payload in (stream, *(payload for _, payload in whole or [])):
        try:
            message = decoder.decode(payload)
            if decoder is Request:
                caller_pairs(message.caller)
        except PeerViolation:
            continue
        # A REFUSED's message need not be UTF-8; what is read of it once is.
        again = decoder.decode(message.encode()[FRAME_HEADER.size :])
        assert again == message, (message, again)
