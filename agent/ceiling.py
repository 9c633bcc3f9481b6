"""What the cluster's owner allows at most, whatever a stub asks for."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from agent.caller import REMEMBERED_BYTES, Caller, parse_caller
from agent.settings import Extra
from tunnel.core import extras
from tunnel.core.errors import Forbidden, Unauthorized
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines
from tunnel.core.identity import Identity, impersonation_fields
from tunnel.core.policy.ceiling import CeilingRules, parse_ceiling
from tunnel.core.policy.decision import Decision
from tunnel.kit.document import RulesFile

_CACHED: Final = 4096
_CACHED_TARGET_BYTES: Final = 256
_REQUEST_LINE: Final = b"Impersonate-Extra-cluster-tunnel%%2frequest-id: %b\r\n"


@dataclass(frozen=True, slots=True)
class _Decided:
    """A caller that may come, and how the apiserver is told."""

    caller: Caller
    lines: bytes


def open_ceiling(path: Path | None) -> RulesFile[CeilingRules] | None:
    """Return the rules of `--ceiling`, or None without it: then only what is built in holds.

    Raises:
        UsageError: the file cannot be read, or is wrong.
    """
    return None if path is None else RulesFile(path, parse_ceiling, "--ceiling")


class Ceiling:
    """Turns the caller that a REQUEST names into the fields that make the apiserver act as it, and judges what is asked.

    The stub is not trusted: all is checked here again.

    Args:
        impersonate: False where the apiserver sees somebody else than the user; the names are checked all the same.
        file: the owner's rules; None where only what is built in holds.
        extra: what else the apiserver is told of the user it impersonates.
        bearer: whether callers without a name may come, because the apiserver tells them by their own token.
    """

    def __init__(
        self,
        *,
        impersonate: bool,
        file: RulesFile[CeilingRules] | None = None,
        extra: frozenset[Extra] = frozenset(),
        bearer: bool = False,
    ) -> None:
        self._impersonate = impersonate
        self._file = file
        self._extra = extra
        self.tells_request = "request" in extra
        self._bearer = bearer
        self._rules = CeilingRules()
        self._limits_requests = False
        self._decided: dict[bytes, _Decided] = {}
        self._judged: dict[tuple[bytes, bytes, bool], Decision] = {}
        self._refresh()

    def caller_lines(self, caller: bytes) -> bytes:
        """Return the field lines for a REQUEST's caller block; the same block is decided about once.

        Raises:
            Forbidden: the caller is above the ceiling.
            Unauthorized: the block names nobody.
            BadRequest: it has something that this version does not know.
        """
        self._refresh()
        decided = self._decided.get(caller)
        if decided is None:
            decided = self._decide(parse_caller(caller))
            if len(self._decided) >= _CACHED:
                self._decided.clear()
            if len(caller) <= REMEMBERED_BYTES:
                self._decided[caller] = decided
        return decided.lines

    def acting_lines(self, caller: bytes, acting: Identity) -> bytes:
        """As `caller_lines`, for a caller who wants to act as somebody else: both have to be within the ceiling.

        Raises:
            Forbidden: one of them is above it.
            Unauthorized, BadRequest: as `caller_lines`.
        """
        self.caller_lines(caller)
        who = self.caller(caller)
        assert who.identity is not None
        decision = self._rules.decide_identity(acting)
        if not decision.allowed:
            raise _above(decision)
        own = (*self._own_extra(who), (extras.ORIGINAL_USER, (who.identity.user,)))
        return field_lines(
            [*impersonation_fields(replace(acting, extra=acting.extra + own)), *_address_fields(who)]
        )

    def request_line(self, request_id: str) -> bytes:
        """Return the line that tells the apiserver a request's id, where `tells_request`."""
        return _REQUEST_LINE % request_id.encode()

    def caller(self, block: bytes) -> Caller:
        """Return whom a block names that `caller_lines` has let in, or would refuse.

        Raises:
            BadRequest: as `caller_lines`.
        """
        decided = self._decided.get(block)
        return parse_caller(block) if decided is None else decided.caller

    def check_request(self, method: bytes, target: bytes, *, upgrade: bool) -> None:
        """Refuse what nobody may ask.

        Raises:
            Forbidden: it is above the ceiling.
        """
        if not self._limits_requests:
            return
        asked = (method, target, upgrade)
        decision = self._judged.get(asked)
        if decision is None:
            decision = self._rules.decide_request(method, target, upgrade=upgrade)
            if len(self._judged) >= _CACHED:
                self._judged.clear()
            if len(target) <= _CACHED_TARGET_BYTES:
                self._judged[asked] = decision
        if not decision.allowed:
            raise _above(decision)

    def _refresh(self) -> None:
        """Take up rules that changed; asked for every request, where the file is looked at now and then."""
        if self._file is None:
            return
        rules = self._file.current(time.monotonic())
        if rules is not self._rules:
            self._rules = rules
            self._limits_requests = not rules.scope.limits_nothing
            self._decided.clear()
            self._judged.clear()

    def _decide(self, caller: Caller) -> _Decided:
        identity = caller.identity
        if identity is None:
            self._check_nobody()
            fields = []
        else:
            decision = self._rules.decide_identity(identity)
            if not decision.allowed:
                raise _above(decision)
            own = tuple(self._own_extra(caller))
            told = replace(identity, extra=identity.extra + own) if own else identity
            fields = impersonation_fields(told) if self._impersonate else []
        return _Decided(caller, field_lines([*fields, *_address_fields(caller)]))

    def _own_extra(self, caller: Caller) -> Iterator[tuple[str, tuple[str, ...]]]:
        if "certificate" in self._extra and caller.certificate:
            yield extras.CERTIFICATE, (caller.certificate,)
        if "address" in self._extra and caller.address:
            yield extras.ADDRESS, (caller.address,)

    def _check_nobody(self) -> None:
        """Nobody here can tell whose token it is, so rules about names cannot be kept."""
        if not self._bearer:
            raise Unauthorized("a client certificate is needed: this cluster takes no bearer tokens of users")
        rules = self._rules
        if not (rules.users is rules.groups is rules.forbidden_groups is None):
            raise Forbidden(
                "above the cluster's ceiling: it says who may come, and a client without a certificate has no name"
            )


def _address_fields(caller: Caller) -> list[Field]:
    return [(b"X-Forwarded-For", caller.address.encode())] if caller.address else []


def _above(decision: Decision) -> Forbidden:
    return Forbidden(f"above the cluster's ceiling: {decision.reason}")
