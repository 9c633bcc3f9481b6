"""The endpoints below `/.cluster-tunnel/`: who asks how often, what for, and one event for what became of it."""

import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from certs.errors import CertificateProblem
from certs.signed import BODY_BYTES, CA, JOIN, LOGIN, RENEW, Issued, authority_body
from certs.signer import OwnAuthority
from stub.signing.attempts import Attempts
from stub.signing.call import SigningCall
from stub.signing.event import Action, SigningEvent, SigningLedger
from stub.signing.oidc import Issuer
from tunnel.core.errors import NotFound, Refusal, TooLarge, TooManyRequests, Unavailable
from tunnel.core.http.message import Field
from tunnel.core.http.status import REQUEST_ID, refusal_response
from tunnel.core.identifiers import audit_text

ACTIONS: Final[Mapping[str, Action]] = {JOIN: "join", RENEW: "renew", LOGIN: "login"}

Handler = Callable[[SigningCall], Awaitable[Issued]]
Answer = tuple[int, list[Field], bytes]

_log = logging.getLogger(__name__)


class SigningEndpoints:
    """See the module.

    Args:
        handlers: what carries out each action.
        own: the authority of the stub's certificate.
        attempts: how often an address may ask for a certificate.
        readings: how often it may ask for the authority.
        ledgers: hear of every attempt.
        issuer: whose id-tokens sign users in; None where there is none.
    """

    def __init__(
        self,
        handlers: Mapping[Action, Handler],
        own: OwnAuthority,
        attempts: Attempts,
        readings: Attempts,
        ledgers: Sequence[SigningLedger] = (),
        issuer: Issuer | None = None,
    ) -> None:
        self._handlers = handlers
        self._own = own
        self._attempts = attempts
        self._readings = readings
        self._ledgers = tuple(ledgers)
        self._issuer = issuer

    async def run(self) -> None:
        """Keep up to date what signs users in, until cancelled; it ends by itself where nothing has to be."""
        if self._issuer is not None:
            await self._issuer.keep_keys()

    async def answer(
        self, method: bytes, path: bytes, body: bytes, certificate: bytes | None, address: str
    ) -> Answer:
        """Return status, fields and body of the answer to a call; nothing is raised.

        Args:
            method: as received.
            path: the target, which begins with `/.cluster-tunnel/`.
            body: whole; more than `BODY_BYTES` is refused, so it need not be gathered any further.
            certificate: what the connection shows, DER, whoever signed it; None where it shows none.
            address: where the call comes from.

        Cancelling it may leave a use of a join token counted; the same key may ask again.
        """
        id = audit_text(secrets.token_bytes(16))
        asked = f"{method.decode('latin-1')} {path.partition(b'?')[0].decode('latin-1')}"
        try:
            return _good(await self._body(asked, body, certificate, address, id), id)
        except Refusal as refusal:
            head, text = refusal_response(refusal, hop="stub", request_id=id)
            return head.status, head.fields, text

    async def _body(self, asked: str, body: bytes, certificate: bytes | None, address: str, id: str) -> bytes:
        method, _, path = asked.partition(" ")
        if asked == f"GET {CA}":
            # Apart: every join begins with this question.
            _count(self._readings, address)
            return authority_body(self._authority())
        action = ACTIONS.get(path)
        if action is None or method != "POST":
            raise NotFound(f"there is no {asked[:100]}")
        event = SigningEvent(action, address, id)
        try:
            return (await self._sign(SigningCall(body, certificate, event))).body
        except Refusal as refusal:
            event.code, event.reason = refusal.code, refusal.message
            raise
        finally:
            self._record(event)

    async def _sign(self, call: SigningCall) -> Issued:
        _count(self._attempts, call.event.address)
        if len(call.body) > BODY_BYTES:
            raise TooLarge(f"the body is larger than {BODY_BYTES} bytes", close=True)
        try:
            issued = await self._handlers[call.event.action](call)
        except CertificateProblem as problem:
            _log.error("a certificate cannot be issued", extra={"reason": str(problem)})
            raise Unavailable("this stub cannot issue certificates now; its log says why") from problem
        event = call.event
        event.serial, event.expires = issued.serial, issued.expires.isoformat()
        event.code, event.reason = 200, ""
        return issued

    def _authority(self) -> bytes:
        authority = self._own.pem()
        if authority is None:
            raise NotFound(
                "this stub cannot say who signed its certificate: its --ca-dir has no server-ca.crt"
            )
        return authority

    def _record(self, event: SigningEvent) -> None:
        facts = {
            key: value for key, value in event.entry().items() if value not in ("", []) and key != "time"
        }
        if event.reason:
            _log.warning("a certificate was refused", extra=facts)
        else:
            _log.info("a certificate was issued", extra=facts)
        for ledger in self._ledgers:
            ledger.signing_completed(event)


def _count(attempts: Attempts, address: str) -> None:
    wait = attempts.take(address, time.monotonic())
    if wait is not None:
        raise TooManyRequests("too many attempts from this address", retry_after=wait)


def _good(body: bytes, id: str) -> Answer:
    fields: list[Field] = [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-store"),
        (REQUEST_ID, id.encode("ascii")),
    ]
    return 200, fields, body
