"""How an agent gets its certificate and keeps it valid: it joins once with a token, and renews for ever. With another token it
joins again, which is how an agent comes back whose certificate was revoked.

The token's pin proves the stub before the token is said; the cluster's own UID, which goes into the certificate, keeps a copied
token or key from serving another cluster in its name.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, NoReturn, TypeVar

from agent.enrolment_cluster import ClusterUnknown
from agent.settings import AgentSettings
from certs.agentstate import AgentState
from certs.call import CALL_SECONDS, Answer, Call, CallFailed, Request
from certs.contexts import calling_context
from certs.errors import FileMissing
from certs.lifetime import date_text, utc_now
from certs.peer import cluster_uid_of
from certs.pem import KeyPair, PemFile, PemText
from certs.renewal import expiry, is_good, renewal_due
from certs.signed import (
    CA,
    JOIN,
    RENEW,
    Signed,
    SigningRefused,
    join_body,
    read_authority,
    read_signed,
    renew_body,
)
from certs.tokens import JoinToken, parse_token, pinned, read_token
from tunnel.aio.errors import DialFailed
from tunnel.aio.stream import StreamHandler
from tunnel.kit.backoff import Backoff
from tunnel.kit.failures import CommandFailed, UsageError
from tunnel.kit.values import Address

Dial = Callable[[Address, ssl.SSLContext, Callable[[], StreamHandler]], Awaitable[None]]
"""Opens a connection to a stub, whose owner the last argument makes; raises DialFailed."""

ReadUid = Callable[[], Awaitable[str]]
"""Asks the apiserver for the cluster's UID; raises ClusterUnknown."""

JITTER: Final = 1 / 20
"""The part of its life by which a certificate may be renewed before its time: agents that joined together do not renew together."""

LONGEST_SLEEP_SECONDS: Final = 3600.0
"""The wall clock may be set, and a machine may be asleep: how long to rely on neither."""

JOIN_SECONDS: Final = 60.0
"""Between two tries to join with a new token while the certificate before is good."""

TRIES_LEFT: Final = 20
"""Where a renewal fails it is tried again after this part of what is left, an hour at most."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Unanswered(Exception):
    """No stub said yes or no; the text says what happened instead."""


class Enrolment:
    """See the module.

    Args:
        settings: with `state`.
        dial: reaches stubs, by a proxy where there is one.
        read_uid: asks the apiserver.
        random: returns a number from 0 up to 1.

    Raises:
        CommandFailed: the state folder cannot be made.
    """

    def __init__(
        self,
        settings: AgentSettings,
        dial: Dial,
        read_uid: ReadUid,
        random: Callable[[], float] = random.random,
    ) -> None:
        assert settings.state is not None
        self._settings = settings
        self._stubs = settings.stub if settings.join_at is None else (settings.join_at,)
        self._dial = dial
        self._read_uid = read_uid
        self._random = random
        self._early = JITTER * random()
        self._state = AgentState(settings.state)
        self._uid = ""
        self._has_unused_token = False

    # The first certificate -------------------------------------------------------------------------

    async def enrol(self) -> AgentSettings:
        """Return the settings with certificate, key and authority, after joining where there is none yet or the token is a new
        one. Who has no certificate asks for ever; who has one keeps it where the new token brings no other.

        Raises:
            UsageError: there is neither a certificate nor a token.
            CommandFailed: the token or the stub is not the right one, or the certificate is of another cluster.

        Cancelling it is safe: a key that was sent is used again.
        """
        self._uid = await self._persist("the cluster's UID cannot be read", self._read_uid)
        pair = self._state.pair()
        if pair is None or not is_good(pair, utc_now()):
            token = self._token(pair)
            await self._persist("no stub lets this agent join", lambda: self._join(token))
        else:
            self._check_cluster(pair)
            await self._join_anew()
        pair_path = self._state.pair_path
        return replace(
            self._settings,
            cert=pair_path,
            key=pair_path,
            ca=self._state.authority_path,
            state=None,
            join="",
            join_file=None,
            join_at=None,
        )

    def _token(self, pair: KeyPair | None) -> JoinToken:
        token = self._given_token()
        if token is not None:
            return token
        if pair is not None:
            raise CommandFailed(f"{self._over(pair)}; give a new token with --join-file")
        raise UsageError(
            f"--state {self._settings.state} holds no certificate yet: give a join token with --join-file"
        )

    def _given_token(self) -> JoinToken | None:
        settings = self._settings
        if settings.join:
            try:
                return parse_token(settings.join)
            except ValueError as error:
                raise UsageError(f"--join: {error}") from None
        return None if settings.join_file is None else read_token(settings.join_file)

    async def _join_anew(self) -> None:
        """Join if the token is another one than the last; whatever comes of it, the certificate that is there stays good."""
        self._has_unused_token = False
        try:
            token = self._given_token()
            if token is not None and token.id != self._state.token_id():
                await self._join(token)
        except FileMissing:
            _log.debug("the join token was taken away behind the join")
        except _Unanswered as failure:
            self._has_unused_token = True
            _log.warning("no stub lets this agent join anew", extra={"reason": str(failure)})
        except (UsageError, CommandFailed) as failure:
            # Such as a token that is used up: whether the certificate is still good, its stubs will say.
            _log.warning("the new join token is of no use", extra={"reason": str(failure)})

    def _check_cluster(self, pair: KeyPair) -> None:
        made_for = cluster_uid_of(pair.certificate)
        if made_for not in (None, self._uid):
            raise CommandFailed(
                f"{self._state.pair_path}: was made for another cluster, with the UID {made_for}; this one has {self._uid}. "
                "Let this agent join by a token of its own, with another --state"
            )

    async def _join(self, token: JoinToken) -> None:
        key_pem, request = self._state.request()
        body = join_body(token.text, request, self._uid)
        signed = await self._ask_each(lambda stub: self._join_at(stub, token, body))
        expires = self._state.keep(signed, key_pem)
        # Last: a crash in between costs another try, of which nothing depends.
        self._state.remember_token(token.id)
        _log.info("joined", extra={"token_id": token.id, "expires": date_text(expires)})

    async def _join_at(self, stub: Address, token: JoinToken, body: bytes) -> Signed:
        # First whom to trust, from somebody nobody has vouched for: the pin says whether it is true.
        bundle = read_authority(await self._call(stub, CA, None, calling_context(None)))
        authority = pinned(PemText(f"the authority of {stub}", bundle), token.pin)
        if authority is None:
            raise CommandFailed(
                f"the stub at {stub} is not the one that the join token {token.id} was made for: its authority has another key"
            )
        context = calling_context(PemText(f"the authority of {stub}", authority))
        return read_signed(await self._call(stub, JOIN, body, context))

    # The next ones ---------------------------------------------------------------------------------

    async def keep_renewed(self) -> NoReturn:
        """Renew the certificate whenever two thirds of its life are over, until cancelled.

        Raises:
            CommandFailed: it has expired, and no stub has renewed it.
        """
        while True:
            # Read again each time: another process may share the folder, and have been first.
            left = (renewal_due(self._pair(), self._early) - utc_now()).total_seconds()
            if left > 0:
                await self._pause(left)
                continue
            try:
                await self._renew()
            except (_Unanswered, CommandFailed) as failure:
                await self._after_failure(str(failure))

    async def _pause(self, seconds: float) -> None:
        """Sleep, not too long; where a new token waits for a stub that answers, try again behind that."""
        if not self._has_unused_token:
            await asyncio.sleep(min(seconds, LONGEST_SLEEP_SECONDS))
            return
        await asyncio.sleep(min(seconds, JOIN_SECONDS * (0.5 + self._random() / 2)))
        await self._join_anew()

    async def _renew(self) -> None:
        key_pem, request = self._state.request()
        body = renew_body(request, self._uid)
        own = PemFile(self._state.pair_path)
        context = calling_context(PemFile(self._state.authority_path), own)

        async def renew_at(stub: Address) -> Signed:
            return read_signed(await self._call(stub, RENEW, body, context))

        expires = self._state.keep(await self._ask_each(renew_at), key_pem)
        _log.info("the certificate is renewed", extra={"expires": date_text(expires)})

    async def _after_failure(self, reason: str) -> None:
        pair = self._pair()
        left = (expiry(pair) - utc_now()).total_seconds()
        if left < 0:
            raise CommandFailed(f"{self._over(pair)}, and no stub has renewed it: {reason}")
        wait = min(LONGEST_SLEEP_SECONDS, max(1.0, left / TRIES_LEFT))
        facts = {"reason": reason, "expires": date_text(expiry(pair))}
        _log.warning("the certificate is not renewed yet", extra=facts)
        await asyncio.sleep(wait * (0.5 + self._random() / 2))

    def _pair(self) -> KeyPair:
        pair = self._state.pair()
        if pair is None:
            raise CommandFailed(f"{self._state.pair_path}: is gone; join anew")
        return pair

    def _over(self, pair: KeyPair) -> str:
        return f"{self._state.pair_path}: expired on {date_text(expiry(pair))}"

    # Calls -----------------------------------------------------------------------------------------

    async def _persist(self, problem: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, in the end."""
        backoff = Backoff(self._random)
        while True:
            try:
                return await attempt()
            except (_Unanswered, ClusterUnknown) as failure:
                _log.warning(problem, extra={"reason": str(failure)})
            await asyncio.sleep(backoff.next_seconds())

    async def _ask_each(self, ask: Callable[[Address], Awaitable[Signed]]) -> Signed:
        """Return what the first stub gives that gives anything. Only if all refuse is that the last word."""
        reasons, final = [], True
        for stub in self._stubs:
            try:
                return await ask(stub)
            except SigningRefused as refused:
                final = final and refused.lasting
                reasons.append(f"the stub at {stub} refuses: {refused}")
            except (DialFailed, CallFailed) as failure:
                final = False
                reasons.append(f"{stub}: {failure}")
        raise CommandFailed("; ".join(reasons)) if final else _Unanswered("; ".join(reasons))

    async def _call(self, stub: Address, target: str, body: bytes | None, context: ssl.SSLContext) -> Answer:
        call = Call(Request(str(stub), target, body))
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._dial(stub, context, lambda: call)
                return await call.answer()
        except TimeoutError:
            raise CallFailed(f"no answer within {CALL_SECONDS:g} s") from None
