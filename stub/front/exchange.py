"""One request and its answer, from the client's head to the last byte.

The client's connection feeds it (`body_received`, `body_completed`, `client_*`), an agent's link answers it (it is the
`Asker`), and it writes to the client. It ends exactly once.
"""

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from stub.front.admission import Admitted, Verdict
from stub.front.answer import AnswerWriter
from stub.front.attempts import Attempts
from stub.front.response import checked_lines
from stub.front.upload import Upload
from tunnel.aio.splice import Splice
from tunnel.aio.stream import ByteStream
from tunnel.core.audit import Stage
from tunnel.core.errors import BadGateway, PeerViolation, Refusal, RequestTimeout
from tunnel.core.http.kubernetes import is_long_running, parse_request_info
from tunnel.core.http.render import CONTINUE, field_lines, render_response
from tunnel.core.http.status import refusal_response
from tunnel.core.http.upgrade import upgrade_request_fields
from tunnel.core.identifiers import audit_text
from tunnel.core.wire.exchange import Head, Refused

if TYPE_CHECKING:
    from stub.agents.channel import ResponseChannel
    from stub.agents.link import AgentLink
    from stub.front.connection import FrontConnection
    from stub.recording.recording import Recording


class Phase(Enum):
    """Where an exchange stands."""

    COLLECTING = auto()
    """The head is there; a small body is still coming, or others are before it."""
    ASKED = auto()
    """An agent has it."""
    ANSWERING = auto()
    """The answer has begun."""
    SPLICED = auto()
    """The connection is a raw pipe."""
    OVER = auto()


# Reading a member of an Enum costs a call of its metaclass; these are read several times a request.
_COLLECTING: Final = Phase.COLLECTING
_ASKED: Final = Phase.ASKED
_OVER: Final = Phase.OVER


class Exchange:
    """See the module.

    Args:
        front: the client's connection.
        method, target: as received.
        verdict: what admission says of it.
        version_1_1, keep_alive: of the client's request.
        complete: whether the request was whole with its head.

    Attributes:
        audit: 16 bytes that name the request everywhere.
        recording: of the exec that it becomes, where there is one.
    """

    __slots__ = (
        "_answer",
        "_attempts",
        "_channel",
        "_counted",
        "_current",
        "_ends_soon",
        "_front",
        "_refusal",
        "_splice",
        "_stream",
        "_upload",
        "admitted",
        "audit",
        "caller",
        "method",
        "phase",
        "reason",
        "recording",
        "started_at",
        "target",
    )

    def __init__(
        self,
        front: "FrontConnection",
        method: bytes,
        target: bytes,
        verdict: Verdict,
        *,
        version_1_1: bool,
        keep_alive: bool,
        complete: bool = False,
    ) -> None:
        office = front.office
        self._front = front
        self.method = method
        self.target = target
        self.caller, self.admitted, self._refusal = verdict
        self.audit = office.new_audit_id()
        self.started_at = office.now()
        self.phase = _COLLECTING
        self.reason = ""
        self.recording: Recording | None = None
        self._stream: ByteStream = front.stream
        self._answer = AnswerWriter(front.stream, version_1_1=version_1_1, keep_alive=keep_alive)
        self._upload = Upload(front, complete=complete)
        self._attempts = Attempts(office, self._upload)
        self._channel: ResponseChannel | None = None
        self._splice: Splice | None = None
        self._counted = False
        self._current = False
        self._ends_soon = False

    # What the client sends -------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The status answered, or 0."""
        return self._answer.status

    @property
    def sent_bytes(self) -> int:
        """Of the answer's body, or of the pipe towards the client."""
        return self._answer.bytes_sent

    @property
    def received_bytes(self) -> int:
        """Of the request's body, or of the pipe from the client."""
        return self._upload.received_bytes

    @property
    def link(self) -> "AgentLink | None":
        """The agent that was asked last."""
        return self._attempts.link

    @property
    def retried(self) -> bool:
        """Whether a second agent was asked."""
        return self._attempts.retried

    @property
    def address(self) -> str:
        """Where the client connects from."""
        return self._stream.peer

    def seconds(self) -> float:
        """How long ago the request's head arrived."""
        return self._front.office.now() - self.started_at

    @property
    def request_complete(self) -> bool:
        """Whether the client has sent all of the request."""
        return self._upload.complete

    def begin(self) -> None:
        """It is this exchange's turn on the connection."""
        self._current = True
        self._answer.client_paused = self._front.write_paused
        if self._refusal is None:
            self._advance(turn_over=self._upload.complete)
        elif self._upload.complete or self._refusal.close:
            self.refuse(self._refusal)
        # Else at the end of this read: by then a request without a body is whole, and its connection can be kept.

    def body_received(self, data: bytes) -> None:
        """The client sent part of the body."""
        self._upload.take(data)

    def body_completed(self) -> None:
        """The client's request is whole."""
        self._upload.end()

    def read_over(self) -> None:
        """All that arrived in this read has been delivered: decide about a body whose end is not in sight."""
        if not self._current or self.phase is not _COLLECTING:
            return
        if self._refusal is None:
            self._advance(turn_over=True)
        else:
            self.refuse(self._refusal)

    def body_stalled(self, seconds: float) -> None:
        """The client has been silent for so long in the middle of the body. That is wrong as long as nothing is answered, but for a
        body that may be a stream, through the apiserver's proxy."""
        admitted = self.admitted
        if admitted is None or self.phase not in {_COLLECTING, _ASKED}:
            return
        if not is_long_running(parse_request_info(self.method, admitted.head.target)):
            self.refuse(RequestTimeout(f"nothing of the request's body came for {seconds:g} s", close=True))

    def _advance(self, *, turn_over: bool) -> None:
        """Ask, as soon as the body is whole, or is known to be too large or too slow to wait for."""
        admitted = self.admitted
        assert admitted is not None
        if self._upload.is_small:
            self._ask(admitted, stream=False)
        elif admitted.expects_continue:
            if self._ask(admitted, stream=True):
                self._stream.write(CONTINUE)
        elif self._upload.is_too_long_to_wait_for(admitted.body_length, turn_over=turn_over):
            self._ask(admitted, stream=True)

    def _ask(self, admitted: Admitted, *, stream: bool) -> bool:
        """Hand the request to an agent; False where there is none, and that was answered."""
        caller = self.caller
        assert caller is not None
        office = self._front.office
        try:
            link = office.find_agent(admitted.cluster, hidden=admitted.hidden)
            if admitted.upgrade is not None and office.recorder is not None and office.recorder.holds(self):
                return False  # until its recording has a file
            office.quotas.take_request(caller.counted_as, admitted.cluster)
            self._counted = True
            self._attempts.ask(self, admitted, caller, link, stream=stream)
        except Refusal as refusal:
            self.refuse(refusal)
            return False
        self.phase = _ASKED
        office.reached(self, Stage.RECEIVED)
        if stream:
            self._upload.start(link, self._attempts.number, self)
        return True

    def body_room(self) -> None:
        self._front.resume_body()

    def body_refused(self) -> None:
        self._upload.throw_away()
        self._front.resume_body()

    # What the agent answers ------------------------------------------------------------------------

    def response_started(self, channel: "ResponseChannel", head: Head) -> None:
        admitted = self.admitted
        assert admitted is not None
        try:
            lines = checked_lines(self._front.office, self.method, admitted, head)
            if self.recording is not None and admitted.upgrade is not None and head.response.status == 101:
                self.recording.upgraded(admitted.upgrade, head.response.fields)
        except (Refusal, PeerViolation) as fault:
            channel.abandon()
            refusal = (
                fault
                if isinstance(fault, Refusal)
                else BadGateway(f"the agent's answer is not HTTP: {fault}")
            )
            self.refuse(refusal)
            return
        self.phase = Phase.ANSWERING
        self._upload.answered()
        self._channel = channel
        if head.response.status == 101:
            self._start_pipe(channel, head, lines)
            return
        if admitted.upgrade is not None or not self._upload.complete:
            # Behind a refused upgrade nothing may follow (CVE-2018-1002105); behind an answer that did not wait for the
            # body, the rest of that body would be read as the next request.
            self._answer.keep_alive = False
        self._answer.source = channel
        self._answer.start(head, lines)
        self._front.office.reached(self, Stage.STARTED)
        if self._ends_soon:
            self._end_watch()

    def response_data(self, data: memoryview) -> None:
        self._answer.data(data)
        if self._ends_soon:
            self._end_watch()

    def response_ended(self) -> None:
        self._channel = None
        self._answer.end()
        self._finish("")

    def response_cut(self, reason: str) -> None:
        """The client must see a cut one too: no last chunk, no polite close of HTTP, and no close_notify."""
        self._channel = None
        self._finish(f"cut: {reason}", cut=True)

    def refused(self, refused: Refused) -> None:
        told = self._attempts.refused(self, refused)
        if told is not None:
            refusal, hop = told
            self.refuse(refusal, hop=hop)

    def lost(self, reason: str, *, written: bool) -> None:
        refusal = self._attempts.lost(self, reason, written=written)
        if refusal is not None:
            self.refuse(refusal)

    def refuse(self, refusal: Refusal, hop: str = "stub") -> None:
        """Answer with a Status."""
        request_id = audit_text(self.audit)
        head, body = refusal_response(refusal, hop=hop, request_id=request_id)
        upgrade = self.admitted is not None and self.admitted.upgrade is not None
        if refusal.close or upgrade or not self._upload.complete:
            self._answer.keep_alive = False
        self._answer.whole(head.status, head.fields, body, bodiless=self.method == b"HEAD")
        self._finish(f"{hop}: {refusal.message}")

    # The pipe --------------------------------------------------------------------------------------

    def _start_pipe(self, channel: "ResponseChannel", head: Head, lines: bytes) -> None:
        assert self.admitted is not None
        assert self.admitted.upgrade is not None
        self.phase = Phase.SPLICED
        self._answer.status = head.response.status
        self._front.office.reached(self, Stage.STARTED)
        self._stream.write_record(
            render_response(101, lines, field_lines(upgrade_request_fields(self.admitted.upgrade)))
        )
        channel.become_pipe()
        splice = Splice if self.recording is None else self.recording.splice
        self._splice = splice(
            self._stream, channel.stream, self._pipe_closed, self._front.office.splice_drain_seconds
        )
        self._front.hand_over(self._splice.left)

    def raw_received(self, data: memoryview) -> None:
        if self._splice is not None:
            self._splice.right.stream_received(data)

    def _pipe_closed(self, sent: int, received: int, reason: str) -> None:
        self._upload.received_bytes, self._answer.bytes_sent = sent, received
        self.phase = _OVER
        assert self.link is not None
        self.link.pipe_closed(self)
        self._completed(reason)
        self._front.pipe_closed()

    def agent_revoked(self, reason: str) -> None:
        """The agent that answers may not any more: break off what it has begun. What it has not begun, its session's end tells."""
        if self._channel is not None and self.phase is Phase.ANSWERING:
            self._channel.close(reason)
        self.abort_pipe(reason)

    def abort_pipe(self, reason: str) -> None:
        """Break the pipe, where there is one."""
        if self._splice is not None and self.phase is Phase.SPLICED:
            self._splice.abort(reason)

    # The client's connection, and the end of the stub ------------------------------------------------

    def client_write_paused(self) -> None:
        """The client does not take what was written."""
        self._answer.client_write_paused()

    def client_write_resumed(self) -> None:
        """The client takes more."""
        self._answer.client_write_resumed()

    def close_behind(self) -> None:
        """The connection closes behind this answer."""
        self._answer.keep_alive = False

    def drain(self) -> None:
        """The stub is about to stop: end a watch between two events, as the apiserver itself does every half an hour, so that
        clients go on with the next one where it stopped. Everything else runs on until the grace is over: a `logs -f` that ended
        politely would look complete."""
        admitted = self.admitted
        if admitted is not None and parse_request_info(self.method, admitted.head.target).verb == "watch":
            self._ends_soon = True
            self._end_watch()

    def _end_watch(self) -> None:
        if self.phase is Phase.ANSWERING and self._answer.between_lines:
            self._answer.end()
            self._finish("the stub is shutting down")

    def client_lost(self, reason: str) -> None:
        """The client is gone: nobody wants the answer any more."""
        if self.phase in {Phase.OVER, Phase.SPLICED}:
            return
        self._drop_request()
        self.phase = _OVER
        self._completed(f"client gone: {reason}")

    def _completed(self, reason: str) -> None:
        if self.recording is not None:
            self.recording.end()
        office = self._front.office
        if self._counted:
            assert self.caller is not None
            assert self.admitted is not None
            office.quotas.give_request_back(self.caller.counted_as, self.admitted.cluster)
        office.completed(self, reason)

    def _drop_request(self) -> None:
        self._upload.drop()
        if self._channel is not None:
            channel, self._channel = self._channel, None
            channel.abandon()
        elif self.phase is _ASKED:
            self._attempts.cancel()

    def _finish(self, reason: str, *, cut: bool = False) -> None:
        if self.phase is _OVER:
            return
        self._drop_request()
        self.phase = _OVER
        self._completed(reason)
        self._front.exchange_over(self, cut=cut, keep_alive=self._answer.keep_alive)
