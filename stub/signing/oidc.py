"""Sign-in by OpenID Connect: an id-token of one trusted issuer, turned into the identity that a certificate will carry.

The issuer is asked for nothing but its public keys. What a token proves is judged as kube-apiserver judges it, so that an
issuer that works there works here with the same settings.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from certs.jwt import (
    KeyUnknown,
    SignedToken,
    TokenInvalid,
    VerificationKey,
    check_claims,
    parse_signed,
    read_key_set,
    verify_signature,
)
from tunnel.core.errors import Forbidden, Unauthorized, Unavailable
from tunnel.core.identity import Identity

KEYS_SECONDS: Final = 3600.0
"""How old an issuer's keys may be before they are asked for again."""

RETRY_SECONDS: Final = 60.0
"""Behind a question that the issuer did not answer; what was known before holds meanwhile."""

AGAIN_SECONDS: Final = 10.0
"""Between two questions to the issuer at least: a token that names an unknown key, which anybody can make, must not become a
request to somebody else each time."""

DISCOVERY: Final = "/.well-known/openid-configuration"

Fetch = Callable[[str], Awaitable[object]]
"""Returns the JSON document at an https URL, or raises `FetchFailed`."""

_log = logging.getLogger(__name__)


class FetchFailed(Exception):
    """A document of the issuer could not be read; the text says why."""


@dataclass(frozen=True, slots=True)
class OidcRules:
    """What the operator decided.

    Attributes:
        issuer: its URL, exactly as tokens have it.
        audiences: the client ids whose tokens are taken.
        username_claim, groups_claim: where the names are.
        username_prefix, groups_prefix: in front of them, so that they cannot be taken for anybody else's.
        required: claims that must have these values.
    """

    issuer: str
    audiences: tuple[str, ...]
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = "groups"
    groups_prefix: str = ""
    required: tuple[tuple[str, str], ...] = ()


class Issuer:
    """See the module.

    Args:
        rules: what the operator decided.
        fetch: reads its documents.
    """

    def __init__(self, rules: OidcRules, fetch: Fetch) -> None:
        self._rules = rules
        self._keys = IssuerKeys(rules.issuer, fetch)

    async def identity(self, text: str) -> Identity:
        """Return who an id-token says it is of.

        Raises:
            Unauthorized: the token proves nothing.
            Forbidden: it proves somebody who may not be let in.
            Unavailable: the issuer's keys cannot be had.
        """
        try:
            token = parse_signed(text)
            # Before the signature: what is not for here costs the issuer no question.
            check_claims(
                token.claims, issuer=self._rules.issuer, audiences=self._rules.audiences, now=time.time()
            )
            await self._keys.verify(token)
        except TokenInvalid as fault:
            raise Unauthorized(f"the id-token is refused: {fault}") from None
        return claimed_identity(token.claims, self._rules)

    async def keep_keys(self) -> NoReturn:
        """Ask the issuer for its keys now and every hour, until cancelled: no sign-in waits for an issuer that is slow or away
        while there are keys to tell by."""
        while True:
            try:
                seconds = await self._keys.refresh()
            except Exception:
                # The top of a task that belongs to the whole stub: a defect here must not end everybody's requests.
                _log.exception("an issuer's keys cannot be kept")
                seconds = RETRY_SECONDS
            await asyncio.sleep(seconds)


def claimed_identity(claims: Mapping[str, Any], rules: OidcRules) -> Identity:
    """Return the identity in the claims of a token that was verified.

    Raises:
        Forbidden: a claim is missing, has another value than required, or is no name.
    """
    for name, wanted in rules.required:
        if claims.get(name) != wanted:
            raise Forbidden(f"the id-token's claim {name} is not {wanted!r}")
    user = claims.get(rules.username_claim)
    if not isinstance(user, str) or not user:
        raise Forbidden(f"the id-token has no claim {rules.username_claim} with a name")
    if rules.username_claim == "email" and claims.get("email_verified", True) is not True:
        raise Forbidden("the id-token's e-mail address is not verified")
    groups = claims.get(rules.groups_claim, [])
    groups = [groups] if isinstance(groups, str) else groups
    if not isinstance(groups, list) or not all(isinstance(group, str) and group for group in groups):
        raise Forbidden(f"the id-token's claim {rules.groups_claim} is not a list of names")
    names = tuple(dict.fromkeys(rules.groups_prefix + group for group in groups))
    return Identity(rules.username_prefix + user, names)


class IssuerKeys:
    """The keys of an issuer: found by discovery, renewed every hour, asked for again where a token names a new one.

    Args:
        issuer: its URL.
        fetch: reads its documents.
    """

    def __init__(self, issuer: str, fetch: Fetch) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._keys: list[VerificationKey] = []
        self._got_at = self._asked_at = float("-inf")
        self._failure = "it has not answered yet"
        self._asking = asyncio.Lock()

    async def verify(self, token: SignedToken) -> None:
        """Make sure that the issuer signed the token.

        Raises:
            TokenInvalid: it did not.
            Unavailable: there are no keys to tell by.
        """
        if not self._keys:
            await self._renew()
        if not self._keys:
            raise Unavailable(f"the sign-in's issuer cannot be asked for its keys: {self._failure}")
        try:
            verify_signature(token, self._keys)
        except KeyUnknown:
            await self._renew()
            verify_signature(token, self._keys)

    async def refresh(self) -> float:
        """Renew the keys; return in how many seconds to do so again."""
        await self._renew()
        left = self._got_at + KEYS_SECONDS - _now()
        return left if left > 0 else RETRY_SECONDS

    async def _renew(self) -> None:
        """Ask for the keys, unless somebody has lately; where that fails the ones that are there stay."""
        async with self._asking:
            if _now() - self._asked_at < AGAIN_SECONDS:
                return
            try:
                self._keys = read_key_set(await self._fetch(await self._key_set_url()))
                self._got_at = _now()
            except (FetchFailed, TokenInvalid) as failure:
                self._failure = str(failure)
                _log.warning(
                    "an issuer's keys cannot be read", extra={"issuer": self._issuer, "reason": str(failure)}
                )
            finally:
                # Counted from the end: who has waited for a question that took longer must not ask it anew.
                self._asked_at = _now()

    async def _key_set_url(self) -> str:
        found = await self._fetch(self._issuer.rstrip("/") + DISCOVERY)
        if not isinstance(found, dict) or found.get("issuer") != self._issuer:
            raise FetchFailed(f"the discovery document of {self._issuer} names another issuer")
        url = found.get("jwks_uri")
        if not isinstance(url, str):
            raise FetchFailed(f"the discovery document of {self._issuer} has no jwks_uri")
        return url


def _now() -> float:
    return time.monotonic()
