"""What a test may have the streaming half do wrong, or do in an unusual order."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamingFaults:
    """Switches for one upgrade; the defaults are a well-behaved apiserver.

    Attributes:
        refuse_websocket: answer every WebSocket upgrade with a 403 Status; SPDY works.
        refuse_all: answer every upgrade with a 403 Status.
        informational: send this status (100 or 103) as an informational head before the 101.
        answer: answer with this status (200 or 302, to another host) in the place of the 101.
        first_frame_with_head: over SPDY, write a PING in one piece with the 101, so that both share a segment.
        head_delay: seconds between the request and the answer's head.
        status_delay: seconds between the end of the output and the exit status.
        close_behind_status: close the connection right behind the exit status, without waiting for the client.
        cut_after_bytes: drop the connection, without a status, once this much output was sent.
    """

    refuse_websocket: bool = False
    refuse_all: bool = False
    informational: int | None = None
    answer: int | None = None
    first_frame_with_head: bool = False
    head_delay: float = 0.0
    status_delay: float = 0.0
    close_behind_status: bool = False
    cut_after_bytes: int | None = None


NO_FAULTS = StreamingFaults()
