"""The worked example of docs/protocol.md, made by running the code.

`python -m tests.unit.protocol_examples` writes it into the text anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.unit.core.session.pair import http2_frames
from tunnel.core.channel.agent_side import AgentChannel, data_header
from tunnel.core.http.message import RequestHead, ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import AgentHello, StubHello
from tunnel.core.wire.exchange import BODY_UNKNOWN, Cancel, Head, Refused, Request
from tunnel.core.wire.pairs import encode_pairs

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "protocol.md"

STUB_HELLO = StubHello("i-7f3a", 0, ("i-7f3a", "i-c204"), "TOKEN", "prod", "cluster-tunnel/0.1.0")
AGENT_HELLO = AgentHello("agent-0", software="cluster-tunnel/0.1.0")
CALLER = encode_pairs(pairs=[(b"user", b"ann"), (b"group", b"dev"), (b"address", b"192.0.2.7")])
AUDIT = bytes(range(0x10, 0x20))
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_KINDS: Final = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
]

_BLOCK: Final = re.compile(r"^```(dump|frames) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def get_pods() -> Request:
    """The request of the example."""
    target = b"/api/v1/namespaces/default/pods?limit=500"
    head = RequestHead(b"GET", target, [(b"Accept", b"application/json"), (b"User-Agent", b"kubectl")])
    return Request(RequestId(1), 3, AUDIT, head, CALLER)


def large_upload() -> Request:
    """A request whose body follows."""
    head = RequestHead(
        b"POST", b"/api/v1/namespaces/default/configmaps", [(b"Content-Type", b"application/json")]
    )
    return Request(RequestId(3), 3, AUDIT, head, CALLER, body_length=300_000, body_stream=True)


def idle_channel() -> AgentChannel:
    """A channel behind both HELLOs."""
    channel = AgentChannel()
    channel.receive(StubHello("i-7f3a").encode())
    channel.send_hello(AgentHello(token="TOKEN"))
    return channel


def small_response() -> bytes:
    """HEAD, DATA and END of a small response."""
    body, channel = b'{"kind":"PodList"}\n', idle_channel()
    head = Head(RequestId(1), ResponseHead(200, [(b"Content-Type", b"application/json")]), len(body))
    return channel.send_head(head) + data_header(len(body)) + body + channel.send_end()


def aborted_response() -> bytes:
    """A watch that is broken off."""
    event, channel = b'{"type":"ADDED"}\n', idle_channel()
    head = Head(RequestId(2), ResponseHead(200, [(b"Content-Type", b"application/json")]), BODY_UNKNOWN)
    return channel.send_head(head) + data_header(len(event)) + event + channel.send_abort()


def greeted_stub() -> StubSession:
    """A stub's session behind both HELLOs, with nothing to write."""
    stub, agent = StubSession(STUB_HELLO, 0.0), AgentSession(0.0)
    agent.receive(stub.output(), 0.0)
    agent.send_hello(AGENT_HELLO)
    stub.receive(agent.output(), 0.0)
    stub.output()
    return stub


def upload() -> bytearray:
    """What the stub writes for a request with a large body, and its first piece."""
    stub = greeted_stub()
    stub.send_request(large_upload())
    stub.send_body(RequestId(3), bytes(100_000))
    return stub.output()


def dumps() -> dict[str, bytes]:
    """The bytes of each dump."""
    return {
        "stub-hello": STUB_HELLO.encode(),
        "agent-hello": AGENT_HELLO.encode(),
        "request": get_pods().encode(),
        "channel-hello": AgentHello(token="TOKEN").encode(),
        "small-response": small_response(),
        "cancel": Cancel(RequestId(2)).encode(),
        "aborted-response": aborted_response(),
        "refused": Refused(RequestId(4), True, 503, "the agent is full").encode(),
    }


def frame_lists() -> dict[str, bytes]:
    """The HTTP/2 bytes of each list of frames."""
    opening = StubSession(STUB_HELLO, 0.0).output()
    return {"stub-opening": opening.removeprefix(PREFACE), "upload": upload()}


def dumped(data: bytes) -> Iterator[str]:
    """Lines of offset, bytes and text."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:04x}  {row[:8].hex(' '):23}  {row[8:].hex(' '):23}  {text}"


def listed(data: bytes) -> Iterator[str]:
    """Lines of one HTTP/2 frame each."""
    for kind, flags, stream, payload in http2_frames(data):
        yield f"{_KINDS[kind]:13}  stream {stream}  flags {flags:#04x}  {len(payload)} bytes"


def examples() -> dict[str, str]:
    """Every block of the text by its name."""
    lines = {name: dumped(data) for name, data in dumps().items()}
    lines |= {name: listed(data) for name, data in frame_lists().items()}
    return {name: "\n".join(each) + "\n" for name, each in lines.items()}


def blocks(text: str) -> dict[str, str]:
    """What the text shows, by name."""
    return {name: content for _, name, content in _BLOCK.findall(text)}


def renewed(text: str) -> str:
    """The text with every block made anew."""
    made = examples()
    return _BLOCK.sub(lambda found: f"```{found[1]} {found[2]}\n{made[found[2]]}```", text)


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text()))
