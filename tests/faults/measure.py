"""Measures what docs/reliability.md says, and writes it there.

    python -m tests.faults.measure [--runs N] [--defaults N] [--only NAME,...] [--dry-run]

Scenarios that take long are run once for every ten runs of the others. What is not measured this time keeps its figures.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.faults import figures, losses, rollouts, takeovers
from tests.faults.figures import ROOT, Run
from tests.faults.fleet import DEFAULTS, Fleet, Plan, fleet
from tests.faults.processes import FaultFailed
from tests.faults.tables import Scenario, distribution, tables, write_between_markers

DOCUMENT: Final = ROOT / "docs/reliability.md"
FOLDER: Final = ROOT / "docs/reliability"

Play = Callable[[Fleet], Awaitable[Run]]


async def _hand_over(found: Fleet) -> Run:
    takeover = await takeovers.hand_over(found)
    return figures.takeover_run(takeover, takeover.book.miscounted(found.counting.created))


async def _crash(found: Fleet) -> Run:
    takeover = await takeovers.crash(found)
    return figures.takeover_run(takeover, takeover.book.miscounted(found.counting.created))


async def _cut_off(found: Fleet) -> Run:
    takeover = await takeovers.lose_the_api(found)
    return figures.takeover_run(takeover, takeover.book.miscounted(found.counting.created))


async def _freeze(found: Fleet) -> Run:
    return figures.frozen_run(await takeovers.freeze(found))


async def _oversleep(found: Fleet) -> Run:
    answer = await takeovers.oversleep(found)
    return {"statuses": [answer.status], "overlap": {"proven": 0}}


async def _replace_stubs(found: Fleet) -> Run:
    rollout = await rollouts.restart_all(found, found.stubs)
    return figures.rollout_run(rollout, rollout.book.miscounted(found.counting.created))


async def _replace_stubs_settled(found: Fleet) -> Run:
    rollout = await rollouts.restart_all(found, found.stubs, settle=True)
    return figures.rollout_run(rollout, rollout.book.miscounted(found.counting.created))


async def _replace_agents(found: Fleet) -> Run:
    rollout = await rollouts.restart_all(found, found.agents)
    return figures.rollout_run(rollout, rollout.book.miscounted(found.counting.created))


async def _drain_stub(found: Fleet) -> Run:
    return figures.endings_run(await rollouts.drain_a_stub(found))


async def _drain_agent(found: Fleet) -> Run:
    return figures.endings_run(await rollouts.drain_an_agent(found))


async def _kill_agent(found: Fleet) -> Run:
    return figures.killed_run(await losses.kill_an_agent(found))


async def _black_hole_agent(found: Fleet) -> Run:
    vanished = await losses.black_hole_an_agent(found)
    return figures.vanished_run(vanished, vanished.book.miscounted(found.counting.created))


@dataclass(frozen=True, slots=True)
class Measured:
    """A scenario that is measured.

    Attributes:
        scenario: for the tables.
        play: does it once.
        plan: of the fleet.
        rare: whether it is done once for ten runs of the others.
    """

    scenario: Scenario
    play: Play
    plan: Plan = Plan()  # noqa: RUF009 frozen
    rare: bool = False


RELAYED: Final = Plan(lease="none", stubs=1, relayed=True)
SLOW: Final = Plan(timing=DEFAULTS)

MEASURED: Final = (
    Measured(Scenario("hand-over", "takeovers", "is asked to end"), _hand_over),
    Measured(Scenario("crash", "takeovers", "is killed"), _crash),
    Measured(Scenario("cut-off", "takeovers", "does not reach the Lease"), _cut_off),
    Measured(Scenario("freeze", "freezes", "stood still past its deadline (SIGSTOP)"), _freeze),
    Measured(Scenario("oversleep", "freezes", "was suspended for a minute"), _oversleep, rare=True),
    Measured(
        Scenario("stubs", "rollouts", "3 stubs, each as soon as the one before is Ready"),
        _replace_stubs,
        rare=True,
    ),
    Measured(
        Scenario("stubs-settled", "rollouts", "3 stubs, each when the one before has its agents"),
        _replace_stubs_settled,
        rare=True,
    ),
    Measured(
        Scenario("agents", "rollouts", "3 agents, each as soon as the one before is Ready"),
        _replace_agents,
        rare=True,
    ),
    Measured(Scenario("drain-stub", "drains", "a stub"), _drain_stub, rare=True),
    Measured(Scenario("drain-agent", "drains", "an agent"), _drain_agent, rare=True),
    Measured(Scenario("kill-agent", "kills", "killed"), _kill_agent, Plan(lease="none", stubs=1)),
    Measured(Scenario("black-hole", "black holes", "in a black hole"), _black_hole_agent, RELAYED, rare=True),
)
BY_DEFAULTS: Final = (
    Measured(Scenario("hand-over-defaults", "takeovers", "is asked to end; default times"), _hand_over, SLOW),
    Measured(Scenario("crash-defaults", "takeovers", "is killed; default times"), _crash, SLOW),
    Measured(
        Scenario("cut-off-defaults", "takeovers", "does not reach the Lease; default times"), _cut_off, SLOW
    ),
)


class Series:
    """Runs of one scenario after the other, on one fleet as long as it can be mended.

    Args:
        measured: the scenario.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self.runs: list[Run] = []

    async def play(self, count: int) -> None:
        """Add so many runs."""
        wanted = len(self.runs) + count
        while len(self.runs) < wanted:
            try:
                await self._on_one_fleet(wanted)
            except FaultFailed as failure:
                # Logs stand behind the first line, with what is nobody's business in a document.
                self._note({"error": str(failure).partition("\n")[0]})
                print(failure, file=sys.stderr)

    async def _on_one_fleet(self, wanted: int) -> None:
        async with AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
            found = await stack.enter_async_context(fleet(folder, self._measured.plan))
            while len(self.runs) < wanted:
                self._note(await self._measured.play(found))
                if len(self.runs) < wanted:
                    await found.mend()

    def _note(self, run: Run) -> None:
        self.runs.append(run)
        print(
            f"{self._measured.scenario.name} {len(self.runs)}: {json.dumps(run)[:400]}",
            file=sys.stderr,
            flush=True,
        )


def kept() -> dict[str, Any]:
    """Return the figures there are."""
    path = FOLDER / "figures.json"
    return json.loads(path.read_text()) if path.exists() else {}


def publish(found: Mapping[str, Any]) -> None:
    """Write figures, chart and tables."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "figures.json").write_text(as_text(found))
    scenarios = [each.scenario for each in (*MEASURED, *BY_DEFAULTS)]
    results = {name: each["runs"] for name, each in found.items()}
    (FOLDER / "take-overs.svg").write_text(distribution(results, scenarios))
    write_between_markers(DOCUMENT, {**tables(results, scenarios), "origin": _origins(found)})


def as_text(found: Mapping[str, Any]) -> str:
    """Return figures as JSON with one run in each line."""
    scenarios = []
    for name, each in found.items():
        parts = [f"{json.dumps(key)}: {json.dumps(each[key])}" for key in ("origin", "timing")]
        runs = ",\n  ".join(json.dumps(run) for run in each["runs"])
        scenarios.append(f"{json.dumps(name)}: {{\n " + ",\n ".join([*parts, f'"runs": [\n  {runs}\n ]}}']))
    return "{\n" + ",\n".join(scenarios) + "\n}\n"


def _origins(found: Mapping[str, Any]) -> str:
    """Return one line for each way in which figures came about."""
    made: dict[tuple[str, ...], list[str]] = {}
    for name, each in found.items():
        origin = each["origin"]
        key = (origin["command"], origin["machine"], origin["commit"], origin["date"])
        made.setdefault(key, []).append(name)
    return "\n".join(
        f"- {', '.join(names)}: `{command}`, {date}, commit {commit}, {machine}."
        for (command, machine, commit, date), names in made.items()
    )


async def measure(
    chosen: Sequence[tuple[Measured, int]],
    origin: Mapping[str, str],
    done: Callable[[dict[str, Any]], None],
) -> bool:
    """Run scenarios so many times each, hand over the figures of each as they are there, and return whether every run came to
    its end."""
    whole = True
    for measured, count in chosen:
        series = Series(measured)
        await series.play(count)
        timing = asdict(measured.plan.timing)
        done({measured.scenario.name: {"origin": dict(origin), "timing": timing, "runs": series.runs}})
        whole = whole and not any("error" in run for run in series.runs)
    return whole


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.measure", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="of each scenario (5)")
    parser.add_argument(
        "--defaults", type=int, default=0, help="take-overs with the default times, 20 s each (0)"
    )
    parser.add_argument("--only", default="", help="names of scenarios, with commas between")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    return parser


def _chosen(options: argparse.Namespace) -> list[tuple[Measured, int]]:
    only = [name for name in options.only.split(",") if name]
    unknown = set(only) - {each.scenario.name for each in (*MEASURED, *BY_DEFAULTS)}
    if unknown:
        raise SystemExit(f"--only: there is no scenario {', '.join(sorted(unknown))}")
    counted = [(each, -(-options.runs // 10) if each.rare else options.runs) for each in MEASURED]
    counted += [(each, options.defaults) for each in BY_DEFAULTS]
    return [(each, count) for each, count in counted if count and (not only or each.scenario.name in only)]


def main() -> int:
    """Run the command; the exit code is 1 where a run did not come to its end."""
    options = _parser().parse_args()
    command = " ".join(["python -m tests.faults.measure", *sys.argv[1:]])

    def done(found: dict[str, Any]) -> None:
        if not options.dry_run:
            publish({**kept(), **found})

    chosen = _chosen(options)
    if not chosen:
        done({})
    return int(not uvloop.run(measure(chosen, figures.origin(command), done)))


if __name__ == "__main__":
    sys.exit(main())
