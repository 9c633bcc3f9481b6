"""What a soak has found: what must not be, told apart from what the faults explain."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults.holdings import Account, leaks
from tests.faults.load import Outcome
from tests.faults.streams import STREAMS

Excuse = Callable[[float, float], str | None]
"""Says what was done to the fleet between two moments; None where nothing was that explains a failure."""

KINDS: Final = {"kubectl": "kubectl", **{kind.name: "streams" for kind in STREAMS}}
"""Who a failure happened to, by an outcome's method; all others are requests of the generated load."""

SUFFERERS: Final = ("requests", "streams", "kubectl")


@dataclass
class Verdict:
    """See the module.

    Attributes:
        faults: what must not be; none is a pass.
        excused: how often something failed of which the fault was the cause, by fault and by whom it happened to.
        facts: for the report.
    """

    faults: list[str] = field(default_factory=list)
    excused: Counter[tuple[str, str]] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Of the command."""
        return int(bool(self.faults))

    def judge_outcomes(self, outcomes: Iterable[Outcome], excuse: Excuse) -> None:
        """No fault excuses a wrong byte; everything else that fails must have one."""
        for outcome in outcomes:
            if outcome.wrong:
                self.faults.append(f"wrong bytes: {outcome.method} {outcome.target}: {outcome.problem}")
            elif outcome.problem:
                self._judge_failure(outcome, excuse(outcome.began, outcome.ended))

    def _judge_failure(self, outcome: Outcome, cause: str | None) -> None:
        if cause is None:
            self.faults.append(f"failed without a fault: {outcome.method} {outcome.problem[:300]}")
        else:
            self.excused[cause, KINDS.get(outcome.method, "requests")] += 1

    def judge_writes(self, miscounted: Sequence[str]) -> None:
        """Each write is created once; one that failed, once at most."""
        self.faults += [f"miscounted: {each}" for each in miscounted]

    def judge_recovery(self, name: str, problem: str) -> None:
        """The fleet was not whole again behind a fault."""
        self.faults.append(f"behind '{name}': {problem}")

    def judge_leaks(self, before: Mapping[str, Account], after: Mapping[str, Account]) -> None:
        """Whoever lived through all of it holds what it held at the beginning."""
        for name, account in after.items():
            self.faults += leaks(name, before[name], account)
