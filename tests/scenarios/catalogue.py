"""The list of scenarios: what each needs and which kubectl plays it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.scenarios.binaries import Binary, find_binaries, thorough_binaries
from tests.scenarios.kubectl import Kubectl

Play = Callable[[Kubectl], None]


@dataclass(frozen=True)
class Scenario:
    """One thing a user does with kubectl, which must end the same on every path."""

    play: Play
    cases: tuple[int, ...]
    every_version: bool
    since: int
    slow: bool
    seconds: float
    on_simulator: bool
    on_cluster: bool

    @property
    def name(self) -> str:
        numbers = "_".join(str(case) for case in self.cases)
        return self.play.__name__ + (f"_case_{numbers}" if numbers else "")

    @property
    def claim(self) -> str:
        return (self.play.__doc__ or "").strip().splitlines()[0]


_scenarios: list[Scenario] = []


def scenario(
    *,
    cases: tuple[int, ...] = (),
    every_version: bool = False,
    since: int = 0,
    slow: bool = False,
    seconds: float = 60,
    on_simulator: bool = True,
    on_cluster: bool = True,
) -> Callable[[Play], Play]:
    """Put a function into the catalogue.

    Args:
        cases: the numbers of the acceptance cases it plays.
        every_version: played by each kubectl, not only the thorough ones.
        since: the first minor version of kubectl that can.
        slow: left out unless slow tests are asked for.
        seconds: the longest one play may take.
        on_simulator: False where only a real node can do it.
        on_cluster: False where a real node does not always.
    """

    def register(play: Play) -> Play:
        _scenarios.append(
            Scenario(play, cases, every_version, since, slow, seconds, on_simulator, on_cluster)
        )
        return play

    return register


def scenarios() -> tuple[Scenario, ...]:
    """All of them, in the order of their files."""
    # Importing a file of scenarios fills the list; imported here, lest the files need this module and it them.
    from tests.scenarios import all_scenarios  # noqa: F401

    return tuple(_scenarios)


def plays() -> Iterator[tuple[Binary, Scenario]]:
    """Each scenario with each kubectl that shall play it."""
    thorough = thorough_binaries()
    for binary in find_binaries():
        for each in scenarios():
            if binary.is_at_least(each.since) and (each.every_version or binary in thorough):
                yield binary, each
