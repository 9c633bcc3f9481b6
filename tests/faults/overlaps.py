"""Whether two stubs handed requests to agents at the same time, judged by those who do not care: the apiserver and the clock.

A stub process begins each Audit-ID with eight bytes of its own, so every request that reached the apiserver names its stub, also
one that was killed in the middle. The stub's audit log says when it received the request's head, the apiserver when it came;
in between it was written to an agent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tests.faults.upstream import Arrival

PROCESS_CHARACTERS: Final = len("01234567-89ab-cdef")
"""Of an Audit-ID, which is written as a UUID: the first half."""


@dataclass(frozen=True, slots=True)
class Written:
    """A request that a stub handed to an agent, at some moment in between.

    Attributes:
        process: the stub's.
        after, before: POSIX seconds.
    """

    process: str
    after: float
    before: float


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found.

    Attributes:
        requests: how many were looked at.
        turns: how often the stub changed, in the order of arrival.
        proven: requests that a stub certainly wrote after a later stub had written one.
        late_seconds: how much later than the first request of the next stub one of the former arrived, at most.
    """

    requests: int
    turns: int
    proven: int
    late_seconds: float


def received_times(audit: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return when each request of a stub's audit log was received, by its id."""
    return {
        line["auditID"]: datetime.fromisoformat(line["requestReceivedTimestamp"]).timestamp()
        for line in audit
    }


def written(arrivals: Sequence[Arrival], received: Mapping[str, float]) -> list[Written]:
    """Return the requests that reached the apiserver, in the order of arrival."""
    found = [
        Written(arrival.audit[:PROCESS_CHARACTERS], received.get(arrival.audit, arrival.at), arrival.at)
        for arrival in arrivals
    ]
    return sorted(found, key=lambda each: each.before)


def find_overlap(requests: Sequence[Written]) -> Overlap:
    """Judge requests between which each stub led at most once."""
    leaders: list[str] = []
    firsts: dict[str, float] = {}
    proven, late, turns = 0, 0.0, 0
    for request in requests:
        if request.process not in firsts:
            leaders.append(request.process)
            firsts[request.process] = request.before
            turns += len(leaders) > 1
        elif request.process != leaders[-1]:
            successor = firsts[leaders[leaders.index(request.process) + 1]]
            late = max(late, request.before - successor)
            proven += request.after > successor
    return Overlap(len(requests), turns, proven, round(late, 4))
