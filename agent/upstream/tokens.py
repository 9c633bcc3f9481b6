"""Short-lived tokens of the service accounts that users act as, one for each account, asked of the apiserver when they are needed."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent.caller import is_remembered
from agent.upstream.accounts import AccountRules, ServiceAccount, parse_accounts
from agent.upstream.credential import bearer, is_token
from agent.upstream.posting import NotCreated, Once, Posts
from tunnel.core.errors import BadGateway, Forbidden, Refusal, TooManyRequests
from tunnel.core.http.message import Field
from tunnel.core.identity import Identity
from tunnel.kit.document import RulesFile

LIFE_SECONDS: Final = 3600
"""How long a token is asked for; what the apiserver gives by itself, too. Less than 600 it refuses."""

FRESH: Final = 0.8
"""The part of its life in which a token is used without asking for the next; the kubelet's own measure."""

CLOSING_SECONDS: Final = 10.0
"""A token whose end is nearer than this is not sent: the request may wait for a connection."""

LONGEST_SECONDS: Final = 366 * 86400
"""No apiserver gives a token for longer, whatever it says; what it says may be any number that JSON can hold."""

CACHED_ACCOUNTS: Final = 1024
_CACHED_IDENTITIES: Final = 4096

_REQUEST: Final = {
    "apiVersion": "authentication.k8s.io/v1",
    "kind": "TokenRequest",
    "spec": {"expirationSeconds": LIFE_SECONDS},
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token, and how many seconds it lives from the moment it was asked for."""

    token: bytes = field(repr=False)
    seconds: float


Issue = Callable[[ServiceAccount], Awaitable[IssuedToken]]
"""Asks for a token. Raises Refusal, with words for the user."""


class AccountToken:
    """The credential of whoever acts as one service account; see `agent.upstream.credential.Credential`.

    Args:
        account: which.
        issue: asks for its tokens.
    """

    can_renew = True

    def __init__(self, account: ServiceAccount, issue: Issue) -> None:
        self.account = account
        self._issue = issue
        self._loop = asyncio.get_running_loop()
        self._fields: list[Field] = []
        self._fresh_until = self._good_until = float("-inf")
        self._once = Once(self._ask)

    def ready(self, now: float) -> bool:
        """Whether there is a token to be sent at a monotonic time in seconds; else `renew` comes first."""
        return now < self._fresh_until

    def fields(self, now: float) -> list[Field]:
        return self._fields

    async def renew(self) -> None:
        """Get a newer token. Whoever needs one meanwhile waits for the same question, and gets the same answer.

        Raises:
            Refusal: there is none, in words for the user.
        """
        await self._once.answered()

    async def _ask(self) -> None:
        asked_at = self._loop.time()
        ageing = self._fresh_until <= asked_at < self._good_until
        try:
            issued = await self._issue(self.account)
        except Refusal as refusal:
            reason = {"account": str(self.account), "reason": refusal.message}
            _log.warning("a service account's token cannot be had", extra=reason)
            if ageing:
                return  # the old one holds for a while yet; it is not the one that was just refused
            raise
        self._fields = [bearer(issued.token)]
        self._fresh_until = asked_at + FRESH * issued.seconds
        self._good_until = asked_at + issued.seconds - CLOSING_SECONDS


class AccountTokens:
    """The credentials of all accounts that the owner's file names.

    Args:
        file: the owner's rules.
        issue: asks for tokens.
    """

    def __init__(self, file: RulesFile[AccountRules], issue: Issue) -> None:
        self._file = file
        self._issue = issue
        self._rules: AccountRules | None = None
        self._tokens: dict[ServiceAccount, AccountToken] = {}
        self._decided: dict[Identity, AccountToken] = {}

    def of(self, identity: Identity) -> AccountToken:
        """Return the credential of the account that a user acts as; users of one account share it.

        Raises:
            Forbidden: no rule names the user.
        """
        rules = self._current()
        token = self._decided.get(identity)
        if token is None:
            token = self._token(self._account(rules, identity))
            if len(self._decided) >= _CACHED_IDENTITIES:
                self._decided.clear()
            if is_remembered(identity):
                self._decided[identity] = token
        return token

    def _current(self) -> AccountRules:
        rules = self._file.current(time.monotonic())
        if rules is not self._rules:
            self._rules = rules
            self._decided.clear()
            named = {rule.account for rule in rules.rules}
            self._tokens = {account: token for account, token in self._tokens.items() if account in named}
        return rules

    def _account(self, rules: AccountRules, identity: Identity) -> ServiceAccount:
        account = rules.account_of(identity)
        if account is None:
            raise Forbidden(
                f"the cluster's accounts file maps neither the user {identity.user[:64]!a} nor any group of that user to a "
                "service account"
            )
        return account

    def _token(self, account: ServiceAccount) -> AccountToken:
        token = self._tokens.get(account)
        if token is None:
            if len(self._tokens) >= CACHED_ACCOUNTS:
                del self._tokens[next(iter(self._tokens))]
                self._decided.clear()
            token = self._tokens[account] = AccountToken(account, self._issue)
        return token


class TokenIssuer:
    """Asks the apiserver for tokens.

    Args:
        posts: asks, with the agent's own credential.
    """

    def __init__(self, posts: Posts) -> None:
        self._posts = posts

    async def issue(self, account: ServiceAccount) -> IssuedToken:
        """Return a token of `account`.

        Raises:
            Refusal: there is none, in words for the user.
        """
        path = f"/api/v1/namespaces/{account.namespace}/serviceaccounts/{account.name}/token"
        try:
            answer = await self._posts.create(path, _REQUEST, f"a token of the service account {account}")
        except NotCreated as refused:
            raise _refusal(account, refused.status) from None
        return _read_token(account, answer)


def _refusal(account: ServiceAccount, status: int) -> Refusal:
    match status:
        case 403:
            return Forbidden(
                f"the agent may not make tokens of the service account {account}; the cluster's owner can grant it create on "
                "serviceaccounts/token"
            )
        case 404:
            return Forbidden(f"the service account {account}, which you are to act as, does not exist")
        case 429:
            return TooManyRequests("the apiserver has too much to do to make a token", retry_after=1)
        case _:
            return BadGateway(
                f"a token of the service account {account} cannot be had: the apiserver answered {status}"
            )


def _read_token(account: ServiceAccount, answer: Any) -> IssuedToken:
    try:
        token = answer["status"]["token"].encode()
        # Not the date, which needs two clocks that agree. The apiserver may have given less than was asked for.
        seconds = float(min(answer["spec"]["expirationSeconds"], LONGEST_SECONDS))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        token, seconds = b"", 0.0
    if not is_token(token) or not seconds > 0:
        raise BadGateway(f"the apiserver's token of the service account {account} cannot be read")
    return IssuedToken(token, seconds)


def open_accounts(path: Path) -> RulesFile[AccountRules]:
    """Return the rules of `--accounts`.

    Raises:
        UsageError: the file cannot be read, or is wrong.
    """
    return RulesFile(path, parse_accounts, "--accounts")
