"""The tree of everything that can go wrong in the tunnel, as far as the protocol knows.

    TunnelError
    ├── LocalMisuse          our own code asked for something the state does not allow: a bug here
    ├── PeerViolation        the other end broke the protocol: its session or channel ends
    ├── SessionLost          the session ended; `written` says whether a request had left
    ├── ResponseCut          a response broke off after its head
    └── Refusal              a request is answered with a Status instead of being carried
        ├── BadRequest 400   Unauthorized 401   Forbidden 403   NotFound 404   MethodNotAllowed 405   RequestTimeout 408
        ├── ExpectationFailed 417   WrongCluster 421   TooLarge 413   TooManyRequests 429   HeadTooLarge 431
        └── NotImplementedHere 501   BadGateway 502   Unavailable 503   GatewayTimeout 504

Receiving code raises only `PeerViolation` (tunnel wire) or `Refusal` (a client's request); anything else that
escapes from it is a bug in this project.
"""

from typing import ClassVar, Final


class TunnelError(Exception):
    """Root of the tree."""


class LocalMisuse(TunnelError):
    """Our own code broke the protocol's rules; nothing was sent."""


class PeerViolation(TunnelError):
    """The peer broke the protocol; the text says how and never repeats its bytes at length."""


class SessionLost(TunnelError):
    """The session to an agent ended while a request was under way.

    Args:
        reason: why the session ended, in words for a log.
        written: whether the request's REQUEST frame had been handed to the session.
    """

    def __init__(self, reason: str, *, written: bool) -> None:
        super().__init__(reason)
        self.written = written


class ResponseCut(TunnelError):
    """A response broke off behind its head; the client must see it cut, never ended."""


class Refusal(TunnelError):
    """A request that is answered here, with a Kubernetes Status, instead of being carried on.

    Args:
        message: what is wrong and what to do next, in words for the user; holds no secret.
        retry_after: seconds for `Retry-After`; only where the request certainly never left the stub, because
            client-go repeats any verb up to ten times on it.
        close: whether the client's connection must end behind the answer (its framing can no longer be trusted).
    """

    code: ClassVar[int]
    reason: ClassVar[str]

    def __init__(self, message: str, *, retry_after: int | None = None, close: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.close = close


class BadRequest(Refusal):
    """The request is malformed or ambiguous."""

    code, reason = 400, "BadRequest"


class Unauthorized(Refusal):
    """No valid client certificate stands behind the request."""

    code, reason = 401, "Unauthorized"


class Forbidden(Refusal):
    """The identity may not do this here."""

    code, reason = 403, "Forbidden"


class NotFound(Refusal):
    """There is no such cluster."""

    code, reason = 404, "NotFound"


class MethodNotAllowed(Refusal):
    """The method is not carried (CONNECT, TRACE)."""

    code, reason = 405, "MethodNotAllowed"


class RequestTimeout(Refusal):
    """The client does not send what it announced. Kubernetes has no reason for a 408."""

    code, reason = 408, ""


class TooLarge(Refusal):
    """A body is above the limit."""

    code, reason = 413, "RequestEntityTooLarge"


class ExpectationFailed(Refusal):
    """An `Expect` other than `100-continue`."""

    code, reason = 417, "ExpectationFailed"


class WrongCluster(Refusal):
    """SNI, Host and path name different clusters. client-go does not retry a 421 without a reason."""

    code, reason = 421, ""


class TooManyRequests(Refusal):
    """A limit on requests or streams is reached."""

    code, reason = 429, "TooManyRequests"


class HeadTooLarge(Refusal):
    """The request's head is above the limit."""

    code, reason = 431, "RequestHeaderFieldsTooLarge"


class NotImplementedHere(Refusal):
    """A transfer coding or a feature of HTTP that the tunnel does not carry."""

    code, reason = 501, "NotImplemented"


class BadGateway(Refusal):
    """The hop behind this one answered wrongly or broke off."""

    code, reason = 502, "BadGateway"


class Unavailable(Refusal):
    """No agent can take the request now."""

    code, reason = 503, "ServiceUnavailable"


class GatewayTimeout(Refusal):
    """The hop behind this one did not answer in time."""

    code, reason = 504, "Timeout"


REFUSALS: Final[dict[int, type[Refusal]]] = {
    refusal.code: refusal
    for refusal in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        RequestTimeout,
        TooLarge,
        ExpectationFailed,
        WrongCluster,
        TooManyRequests,
        HeadTooLarge,
        NotImplementedHere,
        BadGateway,
        Unavailable,
        GatewayTimeout,
    )
}
"""Every refusal by its status."""


def refusal_of(code: int, message: str) -> Refusal:
    """Return the refusal with this status; one that the table does not know is the hop's own fault (502)."""
    return REFUSALS.get(code, BadGateway)(message)
