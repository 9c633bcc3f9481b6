"""Who asks an agent, and remembers what becomes of it."""

from stub.agents.link import AgentLink
from tunnel.core.http.message import RequestHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.exchange import BODY_UNKNOWN, Head, Refused

GET = RequestHead(b"GET", b"/api", [(b"Accept", b"*/*")])


class Asking:
    """An asker that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def response_started(self, channel: object, head: Head) -> None:
        self.heard.append(head)

    def response_data(self, data: memoryview) -> None:
        self.heard.append(bytes(data))

    def response_ended(self) -> None:
        self.heard.append("ended")

    def response_cut(self, reason: str) -> None:
        self.heard.append(f"cut: {reason}")

    def raw_received(self, data: memoryview) -> None:
        self.heard.append(bytes(data))

    def abort_pipe(self, reason: str) -> None:
        self.heard.append(f"pipe: {reason}")

    def refused(self, refused: Refused) -> None:
        self.heard.append(refused)

    def lost(self, reason: str, *, written: bool) -> None:
        self.heard.append(f"lost: {reason}" if written else f"not written: {reason}")

    def body_room(self) -> None:
        self.heard.append("room")

    def body_refused(self) -> None:
        self.heard.append("refused body")


def ask(link: AgentLink, asker: Asking, *, body: bytes = b"", stream: bool = False) -> RequestId:
    """Ask with what does not matter filled in."""
    return link.ask(
        asker,
        GET,
        epoch=3,
        audit=b"a" * 16,
        caller=b"user\0alice",
        body=body,
        body_length=BODY_UNKNOWN if stream else len(body),
        body_stream=stream,
        upgrade=False,
    )
