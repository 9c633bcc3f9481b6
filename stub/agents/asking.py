"""What a request needs of whoever waits for its answer."""

from typing import TYPE_CHECKING, Protocol

from tunnel.core.wire.exchange import Head, Refused

if TYPE_CHECKING:
    from stub.agents.channel import ResponseChannel


class Asker(Protocol):
    """Waits for the answer to one request. Either the answer starts, on a channel, or the request is refused or lost."""

    def response_started(self, channel: "ResponseChannel", head: Head) -> None:
        """The head arrived. Behind a 101 the channel's connection is to be spliced."""

    def response_data(self, data: memoryview) -> None:
        """Some of the body; valid only during the call."""

    def response_ended(self) -> None:
        """The body is whole. The channel belongs to others from here on."""

    def response_cut(self, reason: str) -> None:
        """The answer broke off behind its head."""

    def raw_received(self, data: memoryview) -> None:
        """Bytes that came behind a 101's head, before the splice took over; valid only during the call."""

    def abort_pipe(self, reason: str) -> None:
        """The agent may not carry its pipe any more."""

    def refused(self, refused: Refused) -> None:
        """The agent answers with a refusal of its own."""

    def lost(self, reason: str, *, written: bool) -> None:
        """The agent is gone and has not answered. Where the request was not even `written`, nobody can have seen it."""

    def body_room(self) -> None:
        """A body that was stopped may go on."""

    def body_refused(self) -> None:
        """The agent wants no more of the body; the answer is on its way, or was refused."""
