"""Whether two stubs handed requests to agents at the same time, judged by the agents' audit logs.

A stub process begins each Audit-ID with eight bytes of its own, so every line of an agent's log names its stub. The stub's own log
says when it received the request's head, the agent's when it had the request: in between it was written.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

PROCESS_CHARACTERS: Final = len("01234567-89ab-cdef")
"""Of an Audit-ID, which is written as a UUID: the first half."""

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Written:
    """A request that a stub handed to an agent, at some moment in between.

    Attributes:
        process: the stub's.
        after, before: POSIX seconds.
        fenced: whether the agent refused it, because it knew of a later epoch.
    """

    process: str
    after: float
    before: float
    fenced: bool = False


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found.

    Attributes:
        requests: how many were looked at.
        turns: how often the stub changed, in the order in which agents received them.
        proven: requests that a stub certainly wrote after a later stub had written one, and that the agent obeyed.
        fenced: such and others that the agent refused.
        late_seconds: how much later than the first request of the next stub one of the former was received, at most.
    """

    requests: int
    turns: int
    proven: int
    fenced: int
    late_seconds: float


def written(agents: Iterable[Line], stubs: Iterable[Line], since: float) -> list[Written]:
    """Return the requests that agents received since a moment, in that order.

    Args:
        agents, stubs: the lines of their audit logs.
        since: POSIX seconds.
    """
    after = {line["auditID"]: _received(line) for line in stubs}
    found: dict[str, Written] = {}
    for line in agents:
        number, before = line["auditID"], _received(line)
        if before >= since:
            process = number[:PROCESS_CHARACTERS]
            found[number] = Written(process, after.get(number, before), before, _is_fenced(line))
    return sorted(found.values(), key=lambda each: each.before)


def _received(line: Line) -> float:
    return datetime.fromisoformat(line["requestReceivedTimestamp"]).timestamp()


def _is_fenced(line: Line) -> bool:
    return any("no longer the active one" in text for text in line["annotations"].values())


def find_overlap(requests: Sequence[Written]) -> Overlap:
    """Judge requests between which each stub led at most once."""
    leaders: list[str] = []
    firsts: dict[str, float] = {}
    proven, late = 0, 0.0
    for request in requests:
        if request.fenced:
            continue
        if request.process not in firsts:
            leaders.append(request.process)
            firsts[request.process] = request.before
        elif request.process != leaders[-1]:
            successor = firsts[leaders[leaders.index(request.process) + 1]]
            late = max(late, request.before - successor)
            proven += request.after > successor
    fenced = sum(request.fenced for request in requests)
    return Overlap(len(requests), max(len(leaders) - 1, 0), proven, fenced, round(late, 4))
