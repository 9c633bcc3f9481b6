"""The recording of one exec, from its request to the last byte."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stub.recording.asciicast import Happening
from stub.recording.file import RecordingFile, cost
from stub.recording.protocols import decoders_for
from stub.recording.stdio import Decoder, Undecodable
from stub.recording.tap import WatchedSplice
from stub.recording.writer import Writer
from tunnel.aio.stream import ByteStream
from tunnel.core.errors import BadGateway, Unavailable
from tunnel.core.http.message import Field
from tunnel.core.http.upgrade import Upgrade

OPEN_SECONDS: Final = 10.0
"""How long an exec waits for its file where recordings are required."""

STALL_SECONDS: Final = 30.0
"""How long an exec is held for what waits to be written, before it is cut."""

WAITING_BYTES: Final = 64 * 2**20
"""What may wait for the disk in all, before each recording has to make do with less."""

OWN_BYTES: Final = 4 * 2**20
CROWDED_BYTES: Final = 64 * 2**10
"""What may wait of one recording; and while that many wait in all."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class RecordingTally:
    """What all recordings have in common.

    Attributes:
        started: recordings of execs that were opened.
        faulty: those that lack something, and those that were required and not to be had.
        dropped_bytes: what was not recorded because it came faster than it could be written.
        waiting_bytes: what waits for the disk now.
    """

    started: int = 0
    faulty: int = 0
    dropped_bytes: int = 0
    waiting_bytes: int = 0


class Recording:
    """See the module. It is a `Watcher`; everything happens on the event loop, save what it has the writer do.

    Args:
        name: of its file.
        file: writes it.
        writer: where that runs.
        tally: shared by all.
        required: whether the exec must not go on without it.
        with_input: whether the client's input is recorded too.

    Attributes:
        problem: what it lacks; empty while that is nothing.
        opened: whether there is a file.
    """

    __slots__ = (
        "_begun_at",
        "_client",
        "_dropped_bytes",
        "_ended",
        "_failed",
        "_file",
        "_held",
        "_loop",
        "_name",
        "_required",
        "_scheduled",
        "_server",
        "_splice",
        "_tally",
        "_timer",
        "_upgraded",
        "_waiting",
        "_waiting_bytes",
        "_with_input",
        "_writer",
        "opened",
        "problem",
    )

    def __init__(
        self,
        name: str,
        file: RecordingFile,
        writer: Writer,
        tally: RecordingTally,
        *,
        required: bool,
        with_input: bool,
    ) -> None:
        self._name = name
        self._file = file
        self._writer = writer
        self._tally = tally
        self._required = required
        self._with_input = with_input
        self._loop = asyncio.get_running_loop()
        self.problem = ""
        self.opened = False
        self._timer: asyncio.TimerHandle | None = None
        self._client: Decoder | None = None
        self._server: Decoder | None = None
        self._splice: WatchedSplice | None = None
        self._begun_at = 0.0
        self._waiting: deque[Happening] = deque()
        self._waiting_bytes = 0
        self._dropped_bytes = 0
        self._scheduled = self._held = self._upgraded = self._failed = self._ended = False

    @property
    def file_name(self) -> str:
        """The name of its file, once an exec is recorded there."""
        return self._name if self._upgraded and self.opened else ""

    # Before the exec -------------------------------------------------------------------------------

    def open(self, on_settled: Callable[[], None]) -> None:
        """Make the file; `on_settled` is called when that is done, or has failed."""
        if self._required:
            late = f"it was not opened within {OPEN_SECONDS:g} s"
            self._timer = self._loop.call_later(OPEN_SECONDS, self._open_settled, late, on_settled)
        self._writer.submit(lambda: self._writer.report(self._open_settled, self._file.open(), on_settled))

    def _open_settled(self, problem: str, on_settled: Callable[[], None]) -> None:
        if self._failed:
            return  # it comes too late
        self._stop_timer()
        if problem:
            self._fail(problem)
        else:
            self.opened = True
        on_settled()

    def require(self) -> None:
        """Do nothing while it can be made.

        Raises:
            Unavailable: it cannot.
        """
        if self._failed:
            raise Unavailable(
                f"exec and attach must be recorded here, and the recording fails: {self.problem}"
            )

    def upgraded(self, upgrade: Upgrade, answer: list[Field]) -> None:
        """The server has granted the upgrade.

        Raises:
            BadGateway: in a way that cannot be decoded, and the recording is required.
        """
        try:
            decoders = decoders_for(upgrade, answer, with_input=self._with_input)
        except Undecodable as fault:
            self._undecodable(str(fault), 0)
            if self._required:
                raise BadGateway(f"exec and attach must be recorded here, and {fault}", close=True) from None
        else:
            self._client, self._server = decoders.client, decoders.server
        self._upgraded = True
        self._tally.started += 1

    def splice(
        self,
        client: ByteStream,
        server: ByteStream,
        on_closed: Callable[[int, int, str], None],
        drain_seconds: float,
    ) -> WatchedSplice:
        """Join two connections as a `Splice` does, and look on."""
        self._begun_at = self._loop.time()
        self._splice = WatchedSplice(client, server, on_closed, drain_seconds, self)
        return self._splice

    # The exec --------------------------------------------------------------------------------------

    def client_received(self, data: memoryview) -> None:
        self._client = self._decode(self._client, data)

    def server_received(self, data: memoryview) -> None:
        self._server = self._decode(self._server, data)

    def _decode(self, decoder: Decoder | None, data: memoryview) -> Decoder | None:
        if decoder is None or self._failed:
            return None
        seconds = self._loop.time() - self._begun_at
        try:
            for stdio, piece in decoder.receive(data):
                self._add(Happening(seconds, stdio, piece))
        except Undecodable as fault:
            self._undecodable(str(fault), seconds)
            return None
        return decoder

    def _undecodable(self, fault: str, seconds: float) -> None:
        """A direction is lost, or both; what is left goes on where it may."""
        if self._required:
            self._fail(fault)
            return
        self._note(fault)
        self._add(Happening(seconds, None, f"not all is recorded from here on: {fault}".encode()))

    def _add(self, happening: Happening) -> None:
        crowded = self._tally.waiting_bytes > WAITING_BYTES
        if self._waiting_bytes + cost(happening) > (CROWDED_BYTES if crowded else OWN_BYTES):
            if not self._required:
                self._drop(len(happening.data))
                return
            self._hold()
        if self._dropped_bytes:
            self._mark_dropped(happening.seconds)
        self._put(happening)

    def _put(self, happening: Happening) -> None:
        self._waiting.append(happening)
        self._count(cost(happening))
        if not self._scheduled:
            self._scheduled = True
            self._writer.submit(self._write)

    def _count(self, size: int) -> None:
        self._waiting_bytes += size
        self._tally.waiting_bytes += size

    # More than can be written ------------------------------------------------------------------------

    def _drop(self, size: int) -> None:
        self._dropped_bytes += size
        self._tally.dropped_bytes += size
        self._note("output came faster than it could be written")

    def _mark_dropped(self, seconds: float) -> None:
        dropped, self._dropped_bytes = self._dropped_bytes, 0
        mark = f"{dropped} bytes are missing here: they came faster than they could be written"
        self._put(Happening(seconds, None, mark.encode()))

    def _hold(self) -> None:
        if not self._held and self._splice is not None:
            self._held = True
            self._splice.hold()
            slow = "it cannot be written as fast as output comes"
            self._timer = self._loop.call_later(STALL_SECONDS, self._fail, slow)

    def _release(self) -> None:
        if self._held and self._splice is not None:
            self._held = False
            self._stop_timer()
            self._splice.release()

    def _write(self) -> None:
        """Runs in the writer."""
        self._writer.report(self._written, *self._file.write(self._waiting))

    def _written(self, size: int, problem: str) -> None:
        self._count(-size)
        self._scheduled = False
        if problem:
            self._fail(problem)
        if self._waiting_bytes < CROWDED_BYTES // 2:
            self._release()
        if self._waiting and not self._ended:
            self._scheduled = True
            self._writer.submit(self._write)

    # The end ---------------------------------------------------------------------------------------

    def end(self) -> None:
        """The request is over, whether or not it became an exec. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._stop_timer()
        if not self._upgraded:
            self._writer.submit(self._file.discard)
            return
        if self._dropped_bytes:
            self._mark_dropped(self._loop.time() - self._begun_at)
        self._writer.submit(self._finish)

    def _finish(self) -> None:
        """Runs in the writer."""
        while self._waiting:
            self._write()
        self._writer.report(self._written, 0, self._file.end())

    def _fail(self, problem: str) -> None:
        """It ends here, and where it is required the exec with it."""
        if self._failed:
            return
        self._failed = True
        self._note(problem)
        self._stop_timer()
        if self._required and self._splice is not None and not self._ended:
            self._splice.abort(f"the recording failed: {problem}")

    def _note(self, problem: str) -> None:
        """Say it, once."""
        if not self.problem:
            self.problem = problem
            self._tally.faulty += 1
            _log.warning("a recording lacks something", extra={"recording": self._name, "reason": problem})

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
