"""Requests in one line: `GET /api/v1/pods`, with `UPGRADE` in front where one is asked for."""

from tunnel.core.policy.ceiling import parse_ceiling
from tunnel.core.policy.decision import Decision
from tunnel.core.policy.request import PolicyRequest, read_request


def split(line: str) -> tuple[bytes, bytes, bool]:
    """Return method, target and whether it upgrades."""
    *upgrade, method, target = line.split()
    return method.encode(), target.encode(), bool(upgrade)


def asked(line: str) -> PolicyRequest:
    method, target, upgrade = split(line)
    return read_request(method, target, upgrade=upgrade)


def under(ceiling: dict[str, object], line: str) -> Decision:
    """What a ceiling file that says this decides about a request."""
    method, target, upgrade = split(line)
    return parse_ceiling(ceiling).decide_request(method, target, upgrade=upgrade)
