"""Sees to it that execs are recorded: which ones, where, and what becomes of those that cannot be."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Final

from stub.recording.asciicast import Asciicast
from stub.recording.file import RecordingFile
from stub.recording.protocols import check_offer
from stub.recording.recording import Recording, RecordingTally
from stub.recording.stdio import Undecodable
from stub.recording.subject import is_exec, subject_of
from stub.recording.writer import Writer, WriterThread
from stub.settings import StubSettings
from tunnel.core.errors import BadRequest
from tunnel.core.http.kubernetes import parse_request_info
from tunnel.core.identifiers import audit_text
from tunnel.kit.failures import CommandFailed

if TYPE_CHECKING:
    from stub.front.exchange import Exchange

_log = logging.getLogger(__name__)

CLOSE_SECONDS: Final = 5.0
"""How long a stub that ends waits for what is to be written."""


@dataclass(frozen=True, slots=True)
class RecordingRules:
    """What the operator decided.

    Attributes:
        folder: where recordings are written.
        with_input: whether what users type is recorded too.
        required: whether an exec that cannot be recorded must not be.
        max_bytes: how long a recording may become; 0 is no limit.
    """

    folder: Path
    with_input: bool = False
    required: bool = False
    max_bytes: int = 0


class Recorder:
    """See the module.

    Args:
        rules: what the operator decided.
        writer: writes the files, and is closed with it.
    """

    def __init__(self, rules: RecordingRules, writer: Writer) -> None:
        self._rules = rules
        self._writer = writer
        self.tally = RecordingTally()

    def holds(self, exchange: "Exchange") -> bool:
        """Begin the recording of an exchange that asks for an upgrade, where it is to have one.

        Returns:
            Whether no agent may be asked yet; then `exchange.read_over` is called when this is to be called again.

        Raises:
            Unavailable: it must be recorded, and cannot be.
            BadRequest: it must be recorded, and what it offers could not be decoded.
        """
        if exchange.recording is None:
            exchange.recording = self._begin(exchange)
        recording = exchange.recording
        if recording is None or not self._rules.required:
            return False
        recording.require()
        return not recording.opened

    def _begin(self, exchange: "Exchange") -> Recording | None:
        admitted, caller = exchange.admitted, exchange.caller
        assert admitted is not None
        assert admitted.upgrade is not None
        target = admitted.head.target
        info = parse_request_info(exchange.method, target)
        if not is_exec(info):
            return None
        if self._rules.required:
            try:
                check_offer(admitted.upgrade, admitted.head.fields)
            except Undecodable as fault:
                self.tally.faulty += 1
                _log.warning("an exec cannot be recorded and is refused", extra={"reason": str(fault)})
                raise BadRequest(f"exec and attach must be recorded here, and {fault}", close=True) from None
        user = caller.identity.user if caller is not None else ""
        now = time.time()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        name = f"{stamp}-{admitted.cluster}-{audit_text(exchange.audit)}.cast"
        cast = Asciicast(subject_of(user, admitted.cluster, info, target), now)
        recording = self._recording(name, cast)
        recording.open(exchange.read_over if self._rules.required else _nothing)
        return recording

    def _recording(self, name: str, cast: Asciicast) -> Recording:
        rules = self._rules
        file = RecordingFile(rules.folder / name, cast, rules.max_bytes)
        return Recording(
            name, file, self._writer, self.tally, required=rules.required, with_input=rules.with_input
        )

    async def close(self) -> None:
        """Write what waits, for a few seconds at most, and end the writer."""
        await self._writer.close(CLOSE_SECONDS)


def _nothing() -> None:
    """Nobody waits for a recording that may fail."""


def start_recorder(settings: StubSettings) -> Recorder | None:
    """Return what records execs, on a thread of its own; None where none are to be.

    Raises:
        CommandFailed: nothing can be written where they are to go.
    """
    folder = settings.record_exec
    if folder is None:
        return None
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CommandFailed(f"--record-exec {folder}: {error.strerror}") from None
    rules = RecordingRules(
        folder, settings.record_exec_input, settings.record_exec_required, settings.record_exec_max_size
    )
    return Recorder(rules, WriterThread())
