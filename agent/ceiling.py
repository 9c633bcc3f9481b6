"""What the cluster's owner allows at most, whatever a stub asks for."""

import time
from pathlib import Path
from typing import Final

from tunnel.core.errors import BadRequest, Forbidden, PeerViolation
from tunnel.core.http.message import Field
from tunnel.core.http.render import field_lines
from tunnel.core.identity import Identity, impersonation_fields
from tunnel.core.policy.ceiling import CeilingRules, parse_ceiling
from tunnel.core.policy.decision import Decision
from tunnel.core.wire.exchange import caller_pairs
from tunnel.kit.document import RulesFile

_CACHED: Final = 4096
_CACHED_TARGET_BYTES: Final = 256


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
        impersonate: False in token mode, where the apiserver sees the agent itself; the names are checked all the same.
        file: the owner's rules; None where only what is built in holds.
    """

    def __init__(self, *, impersonate: bool, file: RulesFile[CeilingRules] | None = None) -> None:
        self._impersonate = impersonate
        self._file = file
        self._rules = CeilingRules()
        self._limits_requests = False
        self._decided: dict[bytes, bytes] = {}
        self._judged: dict[tuple[bytes, bytes, bool], Decision] = {}
        self._refresh()

    def caller_lines(self, caller: bytes) -> bytes:
        """Return the field lines for a REQUEST's caller block; the same block is decided about once.

        Raises:
            Forbidden: the caller is above the ceiling.
            BadRequest: the block names no user, or something this version does not know.
        """
        self._refresh()
        lines = self._decided.get(caller)
        if lines is None:
            lines = field_lines(self._decide(caller))
            if len(self._decided) >= _CACHED:
                self._decided.clear()
            self._decided[caller] = lines
        return lines

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

    def _decide(self, caller: bytes) -> list[Field]:
        identity, address = _parse(caller)
        decision = self._rules.decide_identity(identity)
        if not decision.allowed:
            raise _above(decision)
        fields = impersonation_fields(identity) if self._impersonate else []
        if address:
            fields.append((b"X-Forwarded-For", address))
        return fields


def _above(decision: Decision) -> Forbidden:
    return Forbidden(f"above the cluster's ceiling: {decision.reason}")


def _parse(caller: bytes) -> tuple[Identity, bytes]:
    user, uid, address = "", None, b""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    try:
        for name, value in caller_pairs(caller):
            match name:
                case b"user":
                    user = value.decode()
                case b"uid":
                    uid = value.decode()
                case b"group":
                    groups.append(value.decode())
                case b"address":
                    address = _checked_address(value)
                case _ if name.startswith(b"extra/"):
                    extra.setdefault(name[6:].decode(), []).append(value.decode())
                case _:
                    # To overlook part of an identity could mean more rights than the stub meant to give.
                    raise BadRequest(
                        "the stub names the caller in a way this agent does not know; upgrade the agent"
                    )
    except (UnicodeDecodeError, PeerViolation):
        raise BadRequest("the stub's description of the caller cannot be read") from None
    pairs = tuple((key, tuple(values)) for key, values in extra.items())
    return Identity(user, tuple(groups), uid, pairs), address


def _checked_address(value: bytes) -> bytes:
    address = value.partition(b"%")[0]  # a link-local one's zone means nothing on another machine
    if len(value) > 64 or address.translate(None, b"0123456789abcdefABCDEF.:"):
        raise BadRequest("the stub's word for the client's address is not an address")
    return address
