"""The request bodies that an agent receives: announced by a REQUEST, each on an HTTP/2 stream with a window of its own."""

from dataclasses import dataclass

from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import AgentEvent, BodyBroken, BodyEnded, BodyReceived
from tunnel.core.session.http2 import ErrorCodes, TunnelConnection
from tunnel.core.session.window import BodyWindow, WindowBudget
from tunnel.core.wire.exchange import BODY_UNKNOWN, Request


@dataclass(slots=True)
class _Body:
    request: RequestId
    stream: int  # 0 once it has ended
    left: int  # of its announced length, or BODY_UNKNOWN
    window: BodyWindow
    held: int = 0  # received, and neither taken by the upstream nor thrown away


class IncomingBodies:
    """The bodies under way in one session.

    Args:
        connection: the session's HTTP/2 connection.
        budget_bytes: what the windows of all bodies may grow by, in sum.
    """

    __slots__ = ("_announced", "_bodies", "_budget", "_connection", "_streams", "_unwanted")

    def __init__(self, connection: TunnelConnection, budget_bytes: int) -> None:
        self._connection = connection
        self._budget = WindowBudget(budget_bytes)
        self._announced: dict[RequestId, int] = {}
        self._unwanted: set[RequestId] = set()
        self._streams: dict[int, _Body] = {}
        self._bodies: dict[RequestId, _Body] = {}

    def announce(self, request: Request) -> None:
        """A REQUEST says that its body follows. Raises PeerViolation where too many bodies are under way."""
        if len(self._announced) + len(self._unwanted) + len(self._streams) >= limits.BODY_STREAMS:
            raise PeerViolation(f"more than {limits.BODY_STREAMS} bodies announced and under way")
        self._announced[request.id] = request.body_length

    def open(self, stream: int, path: bytes) -> None:
        """The stub opened a stream. Raises PeerViolation where no REQUEST announced it."""
        number = path.removeprefix(b"/body/")
        request = RequestId(int(number)) if number.isdigit() and len(number) < 21 else RequestId(0)
        if path != b"/body/%d" % request:
            raise PeerViolation("a stream that is neither the lane nor a body")
        if request in self._unwanted:
            self._unwanted.remove(request)
            self._connection.break_stream(stream, ErrorCodes.NO_ERROR)
            return
        length = self._announced.pop(request, None)
        if length is None:
            raise PeerViolation("a body without its REQUEST")
        body = _Body(request, stream, length, BodyWindow(self._budget))
        self._streams[stream] = self._bodies[request] = body

    def receive(self, stream: int, data: bytes, flow_controlled: int) -> BodyReceived | None:
        """Take DATA; None where it is for nobody. Raises PeerViolation where it is more than was announced."""
        body = self._streams.get(stream)
        if body is None:
            return None
        if body.left != BODY_UNKNOWN:
            if len(data) > body.left:
                raise PeerViolation(f"the body of request {body.request} is longer than announced")
            body.left -= len(data)
        if flow_controlled > len(data):  # padding, which nobody consumes
            self._return(body, flow_controlled - len(data))
        body.held += len(data)
        return BodyReceived(body.request, data) if data else None

    def end(self, stream: int) -> AgentEvent | None:
        """The stub ended a body."""
        body = self._streams.pop(stream, None)
        if body is None:
            return None
        body.stream = 0
        if body.left > 0:
            self._connection.break_stream(stream, ErrorCodes.CANCEL)
            self._drop(body)
            return BodyBroken(body.request)
        self._connection.answer(stream, end=True)
        self._connection.forget(stream)
        if not body.held:
            self._drop(body)
        return BodyEnded(body.request)

    def broken(self, stream: int) -> AgentEvent | None:
        """The stub broke a body off."""
        self._connection.forget(stream)
        body = self._streams.pop(stream, None)
        if body is None:
            return None
        self._drop(body)
        return BodyBroken(body.request)

    def consumed(self, request: RequestId, amount: int) -> None:
        """Return credit for bytes that left this process. Raises LocalMisuse where they are more than came."""
        body = self._bodies.get(request)
        if body is None:
            return
        if amount > body.held:
            raise LocalMisuse(f"{amount} bytes of request {request} consumed, {body.held} are held")
        body.held -= amount
        if body.stream:
            self._return(body, amount)
        elif not body.held:
            self._drop(body)

    def refuse(self, request: RequestId) -> None:
        """Take no more of a body, and hold nothing of it; one whose stream is still to come is refused when it comes."""
        if self._announced.pop(request, None) is not None:
            self._unwanted.add(request)
        body = self._bodies.get(request)
        if body is None:
            return
        if self._streams.pop(body.stream, None):
            self._connection.break_stream(body.stream, ErrorCodes.NO_ERROR)
        self._drop(body)

    def _return(self, body: _Body, amount: int) -> None:
        credit = body.window.consume(amount)
        if credit:
            self._connection.give_credit(credit, body.stream)

    def _drop(self, body: _Body) -> None:
        # Only now: what is held of a body that has ended still takes the memory its window stands for.
        body.window.close()
        del self._bodies[body.request]
