"""Playing a scenario on two paths and telling where they part."""

import difflib

import pytest

from tests.scenarios.binaries import Binary, missing_reason, thorough_binaries
from tests.scenarios.catalogue import Scenario, plays
from tests.scenarios.kubectl import Access, Kubectl, Same, Step


def play_on(scenario: Scenario, binary: Binary, access: Access) -> Kubectl:
    """Play it once; the result holds the recorded steps and what was measured."""
    kubectl = Kubectl(binary, access)
    scenario.play(kubectl)
    return kubectl


def assert_same(one: Kubectl, other: Kubectl, widest: Same) -> None:
    """Fail with a readable difference unless both plays said the same, as far as each step promises."""
    ours, theirs = (_as_lines(kubectl.steps, widest) for kubectl in (one, other))
    difference = list(
        difflib.unified_diff(ours, theirs, one.access.name, other.access.name, lineterm="", n=4)
    )
    assert not difference, "\n".join(difference)


def _as_lines(steps: list[Step], widest: Same) -> list[str]:
    lines = []
    for step in (step.seen_by(widest) for step in steps):
        lines += [f"$ {step.command}", f"exit status {step.code}"]
        lines += [f"out: {line}" for line in step.stdout.splitlines()]
        lines += [f"err: {line}" for line in step.stderr.splitlines()]
    return lines


def parametrised_plays(
    *,
    on_simulator: bool = False,
    on_cluster: bool = False,
    binaries: tuple[Binary, ...] | None = None,
    slow: bool = True,
) -> list[object]:
    """Each play as a pytest parameter (binary, scenario); one skipped play where there is no kubectl.

    Args:
        on_simulator: they are played there, so leave out what only a real node can do.
        on_cluster: they are played there, so leave out what a real node does not always do.
        binaries: only the plays of these.
        slow: False leaves the slow ones out altogether.
    """
    reason = missing_reason()
    if reason:
        return [pytest.param(None, None, id="no-kubectl", marks=pytest.mark.skip(reason=reason))]
    return [
        pytest.param(binary, scenario, id=f"{binary.label}-{scenario.name}", marks=_marks(scenario))
        for binary, scenario in plays()
        if (scenario.on_simulator or not on_simulator) and (scenario.on_cluster or not on_cluster)
        if (slow or not scenario.slow) and (binaries is None or binary in binaries)
    ]


def _marks(scenario: Scenario) -> list[pytest.MarkDecorator]:
    # Twice: a test plays the scenario on two paths.
    marks = [pytest.mark.timeout(scenario.seconds * 2)]
    return [*marks, pytest.mark.slow] if scenario.slow else marks


def parametrised_binaries() -> list[object]:
    """The thorough binaries as pytest parameters; one that is skipped where there is no kubectl."""
    reason = missing_reason()
    if reason:
        return [pytest.param(None, id="no-kubectl", marks=pytest.mark.skip(reason=reason))]
    return [pytest.param(binary, id=binary.label) for binary in thorough_binaries()]
