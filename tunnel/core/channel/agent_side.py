"""A response channel as the agent sees it: it writes one response at a time and waits for the stub's DONE where it must."""

from tunnel.core import limits
from tunnel.core.channel.states import ChannelInput, ChannelState, receive_step, step
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.wire.control import AgentHello, Reject, StubHello
from tunnel.core.wire.exchange import Head
from tunnel.core.wire.framing import FRAME_HEADER, FrameBuffer, FrameType, encode_frame

END_FRAME = encode_frame(FrameType.END)
ABORT_FRAME = encode_frame(FrameType.ABORT)


def data_header(length: int) -> bytes:
    """Return the header of a DATA frame; the payload follows it on the wire."""
    return FRAME_HEADER.pack(FrameType.DATA, length)


class AgentChannel:
    """One channel's protocol state on the agent's side."""

    __slots__ = ("_frames", "_small", "hello", "state")

    def __init__(self) -> None:
        self.state = ChannelState.GREETING
        self.hello: StubHello | None = None
        self._frames = FrameBuffer(limits.GREETING_BYTES)
        self._small = True

    def receive(self, data: bytes) -> bool:
        """Take what the stub sent before the channel is raw; return whether the state changed.

        `hello` is set once the stub's HELLO is there; `send_hello` must follow.

        Raises:
            PeerViolation: the stub broke the protocol, or rejects the channel (the text says why).
            LocalMisuse: the channel is raw.
        """
        if self.state is ChannelState.RAW:
            raise LocalMisuse("the channel is raw: what it brings is not frames")
        changed = False
        for kind, payload in self._frames.receive(data):
            changed = self._take(kind, payload) or changed
        return changed

    def _take(self, kind: int, payload: bytes) -> bool:
        match kind:
            case FrameType.HELLO:
                if self.hello is not None:
                    raise PeerViolation("a second HELLO on a response channel")
                self.hello = StubHello.decode(payload)
            case FrameType.DONE:
                self.state = receive_step(self.state, ChannelInput.DONE)
            case FrameType.REJECT:
                self.state = receive_step(self.state, ChannelInput.REJECT)
                raise PeerViolation(f"the stub rejects the channel: {Reject.decode(payload).reason}")
            case _:
                # Frames of a later version are skipped, so that either end can be upgraded first.
                return False
        return True

    def send_hello(self, hello: AgentHello) -> bytes:
        """Answer the stub's HELLO with the session's token; the channel is idle from here on."""
        if self.hello is None:
            raise LocalMisuse("HELLO before the stub's")
        self.state = step(self.state, ChannelInput.HELLO)
        return hello.encode()

    def send_head(self, head: Head) -> bytes:
        """Begin a response; behind a 101 the channel is raw."""
        self.state = step(
            self.state, ChannelInput.HEAD_101 if head.response.status == 101 else ChannelInput.HEAD
        )
        self._small = head.small
        return head.encode()

    def send_end(self) -> bytes:
        """End the response; the channel is idle at once after a small one, else after DONE."""
        self.state = step(self.state, ChannelInput.END_SMALL if self._small else ChannelInput.END_LARGE)
        return END_FRAME

    def send_abort(self) -> bytes:
        """Break the response off; the channel must be closed behind it."""
        self.state = step(self.state, ChannelInput.ABORT)
        return ABORT_FRAME

    def close(self) -> None:
        """Note that the connection is gone."""
        self.state = step(self.state, ChannelInput.CLOSE)
