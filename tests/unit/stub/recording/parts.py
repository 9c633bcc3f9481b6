"""What travels in an exec, made by hand, and a writer that waits until it is told."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from stub.recording.stdio import Decoder, Stdio, Undecodable
from tests.kubesim.streaming.spdy import FrameEncoder
from tests.kubesim.streaming.spdy_frames import Data, SynReply, SynStream

SPDY_IDS = {Stdio.ERROR: 1, Stdio.STDIN: 3, Stdio.STDOUT: 5, Stdio.STDERR: 7, Stdio.RESIZE: 9}


def frame(payload: bytes, *, opcode: int = 2, fin: bool = True, mask: bytes = b"") -> bytes:
    """A frame of WebSocket, masked where a mask is given."""
    first, flag = (0x80 if fin else 0) | opcode, 0x80 if mask else 0
    if len(payload) < 126:
        head = bytes([first, flag | len(payload)])
    elif len(payload) < 2**16:
        head = bytes([first, flag | 126]) + len(payload).to_bytes(2)
    else:
        head = bytes([first, flag | 127]) + len(payload).to_bytes(8)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)) if mask else payload
    return head + mask + masked


def message(stdio: int, data: bytes, **options: Any) -> bytes:
    """A message of one stream, in one frame."""
    return frame(bytes([stdio]) + data, **options)


def spdy_client(*written: tuple[Stdio, bytes], streams: Iterable[Stdio] = SPDY_IDS) -> bytes:
    """What a client sends: it opens streams, and writes to them."""
    encoder = FrameEncoder()
    opened = [SynStream(SPDY_IDS[each], (("streamtype", each.name.lower()),)) for each in streams]
    frames = [*opened, *(Data(SPDY_IDS[stdio], data) for stdio, data in written)]
    return b"".join(encoder.encode(each) for each in frames)


def spdy_server(*written: tuple[Stdio, bytes]) -> bytes:
    """What a server sends: it takes the streams, and writes to them."""
    encoder = FrameEncoder()
    frames = [*map(SynReply, SPDY_IDS.values()), *(Data(SPDY_IDS[stdio], data) for stdio, data in written)]
    return b"".join(encoder.encode(each) for each in frames)


Found = dict[Stdio, bytes]


def decoded(decoder: Decoder, chunks: Iterable[bytes]) -> tuple[Found, str]:
    """What a decoder finds, by stream, and what stops it."""
    found: Found = {}
    try:
        for chunk in chunks:
            with memoryview(bytes(chunk)) as view:
                for stdio, piece in decoder.receive(view):
                    assert piece
                    found[stdio] = found.get(stdio, b"") + piece
    except Undecodable as fault:
        return found, str(fault)
    return found, ""


class HeldWriter:
    """A writer that runs its jobs when a test says so; what they report is called at once."""

    def __init__(self) -> None:
        self.jobs: deque[Callable[[], None]] = deque()
        self.closed = False

    def submit(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def report(self, callback: Callable[..., None], *arguments: Any) -> None:
        callback(*arguments)

    async def close(self, seconds: float) -> None:
        self.run()
        self.closed = True

    def run(self) -> None:
        """Do what there is to do."""
        while self.jobs:
            self.jobs.popleft()()
