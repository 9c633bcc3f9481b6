"""What an agent may write on a response channel, for tests."""

from tunnel.core.channel.agent_side import data_header
from tunnel.core.http.message import ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.control import AgentHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head
from tunnel.core.wire.framing import FrameType, encode_frame

HELLO = AgentHello(token="secret").encode()
END = encode_frame(FrameType.END)
ABORT = encode_frame(FrameType.ABORT)
UNKNOWN = encode_frame(0x7F, b"of a later version")  # type: ignore[arg-type]


def head(length: int = BODY_UNKNOWN, *, status: int = 200, bodiless: bool = False) -> Head:
    return Head(RequestId(7), ResponseHead(status, [(b"Content-Type", b"text/plain")]), length, bodiless)


def data(payload: bytes) -> bytes:
    return data_header(len(payload)) + payload
