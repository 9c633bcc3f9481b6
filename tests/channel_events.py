"""What a stub's end of a response channel says, whether a small response came whole or in pieces."""

from collections.abc import Iterable, Iterator

from tunnel.core.channel.stub_side import (
    ChannelEvent,
    ResponseData,
    ResponseEnded,
    ResponseReceived,
    ResponseStarted,
)


def in_parts(events: Iterable[ChannelEvent]) -> Iterator[ChannelEvent]:
    """Yield `events`, with the parts of a response in place of one that came whole."""
    for event in events:
        if isinstance(event, ResponseReceived):
            yield ResponseStarted(event.head)
            yield ResponseData(event.data)
            yield ResponseEnded()
        else:
            yield event
