"""Faults that tests switch on: how a request is answered wrongly, late, in part or not at all."""

import asyncio
import itertools
import re
from dataclasses import dataclass, field, fields
from typing import Any, Final

from tests.kubesim import status
from tests.kubesim.http import Request

KINDS: Final = (
    "hang", "reset", "close", "status", "slow", "cut", "delay", "refuse-websocket", "refuse-upgrade", "informational",
    "early-bytes", "early-close", "late-status", "redirect",
)  # fmt: skip


@dataclass(slots=True)
class Fault:
    """A fault and the requests it strikes.

    Attributes:
        kind: `hang` never answers; `reset` and `close` end the connection without an answer; `status` answers `code`
            with a Status; `slow` sends the body at `rate` bytes per second; `cut` breaks off after `bytes` of the
            body (by a reset where `hard`); `delay` waits `seconds` first; `refuse-websocket` answers WebSocket
            upgrades with 403, `refuse-upgrade` all upgrades; `informational` sends a `code` of 100 or 103 first;
            `early-bytes` sends the first bytes of an upgrade together with the 101; `early-close` closes a stream
            right behind its exit status, `late-status` sends that `seconds` late; `redirect` answers 302 to
            `location` (an upgrade to a fixed foreign host).
        method: a regular expression for the whole method.
        path: a regular expression searched in the target.
        count: how many requests it strikes, None for all.
        struck: how many it has struck.
    """

    kind: str
    method: str = ".*"
    path: str = ".*"
    count: int | None = None
    code: int = 503
    reason: str = ""
    message: str = "a fault that a test asked for"
    retry_after: int | None = None
    rate: int = 1024
    bytes: int = 0
    hard: bool = False
    seconds: float = 1.0
    location: str = "https://elsewhere.invalid/"
    id: int = 0
    struck: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is none of {', '.join(KINDS)}")
        re.compile(self.method)
        re.compile(self.path)

    def matches(self, request: Request) -> bool:
        """Return whether it strikes this request."""
        if self.count is not None and self.struck >= self.count:
            return False
        if self.kind == "refuse-websocket" and request.header("upgrade").lower() != "websocket":
            return False
        if (
            self.kind in ("refuse-upgrade", "early-bytes", "early-close", "late-status")
            and not request.upgrade
        ):
            return False
        return bool(re.fullmatch(self.method, request.method) and re.search(self.path, request.target))

    def error(self) -> status.ApiError:
        """Return the Status that it answers."""
        headers = () if self.retry_after is None else (("Retry-After", str(self.retry_after)),)
        return status.ApiError(self.code, self.reason, self.message, headers=headers)


@dataclass(slots=True)
class Pace:
    """A speed limit for a body, in bytes per second."""

    rate: int

    @property
    def step(self) -> int:
        return max(1, self.rate // 20)

    async def wait(self, sent: int) -> None:
        await asyncio.sleep(sent / self.rate)


@dataclass(slots=True)
class Cut:
    """How much of a body is sent before the connection breaks."""

    left: int
    reset: bool = False

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Return what may still be sent, and whether the connection lives on."""
        sent = data[: self.left]
        self.left -= len(sent)
        return sent, len(sent) == len(data)


@dataclass(slots=True)
class Faults:
    """The faults that are switched on."""

    active: list[Fault] = field(default_factory=list)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def add(self, kind: str, **more: Any) -> Fault:
        """Switch a fault on; see `Fault` for the keywords.

        Raises:
            ValueError: there is no such kind, or a pattern is none.
            TypeError: there is no such keyword.
        """
        fault = Fault(kind, **more)
        fault.id = next(self._ids)
        self.active.append(fault)
        return fault

    def remove(self, fault_id: int) -> bool:
        """Switch one off; returns whether there was one."""
        before = len(self.active)
        self.active = [fault for fault in self.active if fault.id != fault_id]
        return len(self.active) < before

    def clear(self) -> None:
        """Switch all off."""
        self.active.clear()

    def strike(self, request: Request) -> list[Fault]:
        """Return the faults that strike this request, and count them."""
        found = [fault for fault in self.active if fault.matches(request)]
        for fault in found:
            fault.struck += 1
        return found

    def listed(self) -> list[dict[str, Any]]:
        """Return the active ones as JSON."""
        return [{f.name: getattr(fault, f.name) for f in fields(Fault)} for fault in self.active]
