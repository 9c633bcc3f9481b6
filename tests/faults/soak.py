"""Hours of mixed use with faults in between: `make soak`.

    python -m tests.faults.soak [--minutes N] [--seed N] [--folder DIR] [--publish]

Generated load, streams that stay open, users that give up in the middle, and kubectl, all checked byte for byte, while everything in
`tests.faults.mischief` is done to the fleet. It ends with a chart of what the processes held, and with exit code 1 where a byte was wrong,
a request failed while nothing was being done to the fleet, a write was counted wrongly, the fleet did not recover, or a process that
lived through all of it holds more than at the beginning.
"""

import argparse
import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import uvloop

from tests.faults import figures
from tests.faults.beside import beside
from tests.faults.figures import ROOT
from tests.faults.fleet import Fleet, Plan, Timing, fleet
from tests.faults.holdings import Account, Sampler, account, change, growth, leaks
from tests.faults.http import Broken
from tests.faults.kubectl import KubectlUser, kubectl_user
from tests.faults.load import LARGE_BYTES, UPLOAD_BYTES, Client, Load, Outcome, get, load, post
from tests.faults.mischief import DEEDS, Mischief
from tests.faults.processes import FaultFailed
from tests.faults.streams import STREAMS, Stream, WrongBytes
from tests.faults.tables import part, table, write_between_markers
from tests.faults.verdict import SUFFERERS, Verdict

PER_SECOND: Final = 30.0
QUIET_SECONDS: Final = (2.0, 5.0)
"""Between two faults, in which nothing may fail."""

REST_SECONDS: Final = 60.0
"""At the end, within which nothing must be held any more that was not at the beginning: idle connections close meanwhile."""

WARM_UP_SECONDS: Final = 20.0

SAMPLES: Final = 300
FAILED: Final = [f"failed {who}" for who in SUFFERERS]
PLAN: Final = Plan(relayed=True, kubectl=True, timing=Timing(delay=1.0, grace=5.0))


class Streams:
    """One stream of each kind, opened anew whenever it ends. A watch goes on where the last one stopped.

    Attributes:
        outcomes: of those that have ended.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.outcomes: list[Outcome] = []
        self.opened: Counter[str] = Counter()

    async def keep(self, kind: type[Stream]) -> None:
        """Keep one open until cancelled."""
        loop = asyncio.get_running_loop()
        number = 0
        while True:
            stream = kind(self._client, after=number)
            began, problem, wrong = loop.time(), "", False
            try:
                await stream.run()
            except WrongBytes as error:
                problem, wrong = str(error), True
            self.opened[kind.name] += 1
            number = stream.number
            if problem or stream.ending != "clean":
                # What matters is when it broke: it may have been open for an hour.
                broke = stream.ended_at or loop.time()
                text = problem or stream.ending
                self.outcomes.append(
                    Outcome(
                        kind.name, stream.target, "", max(began, broke - 1), broke, problem=text, wrong=wrong
                    )
                )
            await asyncio.sleep(0.2)


async def give_up(client: Client) -> None:
    """Begin downloads and uploads and leave in the middle, until cancelled."""
    for number in range(sys.maxsize):
        wish = get(f"left-{number}", LARGE_BYTES) if number % 2 else post(f"left-{number}", UPLOAD_BYTES)
        try:
            connection = await client.connect()
        except OSError:
            await asyncio.sleep(0.5)
            continue
        try:
            async with asyncio.timeout(0.01 * (number % 5)):
                await connection.ask(wish.method, wish.target, body=wish.body)
        except (Broken, TimeoutError):
            pass  # as was wanted
        finally:
            connection.close()
        await asyncio.sleep(0.5)


class Soak:
    """A soak of a fleet.

    Args:
        fleet: as `PLAN` says.
        seconds: how long.
        seed: decides what is done when.
    """

    def __init__(self, fleet: Fleet, seconds: float, seed: int) -> None:
        self._fleet = fleet
        self._seconds = seconds
        self._seed = seed
        self._client = Client(lambda: fleet.service.port, fleet.context)
        self.mischief = Mischief(fleet, seed)
        self.sampler = Sampler(fleet, max(1.0, seconds / SAMPLES))
        self._streams = Streams(self._client)
        self._kubectl: KubectlUser | None = kubectl_user(fleet)
        self.verdict = Verdict()

    async def run(self) -> Verdict:
        """Do it, and judge."""
        await self._fleet.whole()
        before = await self._warmed_up()
        kubectl = [self._kubectl.run()] if self._kubectl else []
        streams = [self._streams.keep(kind) for kind in STREAMS]
        async with beside(self.sampler.run()):
            async with (
                load(self._client, per_second=PER_SECOND, seed=self._seed, prefix="soak") as users,
                beside(*streams, *kubectl, give_up(self._client)),
            ):
                recovered = await self._do_mischief()
            self._judge_users(users)
            if recovered:
                await self._judge_holdings(before)
        return self.verdict

    async def _warmed_up(self) -> dict[str, Account]:
        """Use everything for a while, and return what is held at rest behind it: caches are filled, and all is imported."""
        unused = await self._accounts()
        streams = [self._streams.keep(kind) for kind in STREAMS]
        async with load(self._client, per_second=PER_SECOND, prefix="warm"), beside(*streams):
            await asyncio.sleep(WARM_UP_SECONDS)
        return await self._at_rest(unused)

    async def _do_mischief(self) -> bool:
        """Return whether the fleet has got over everything."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        while loop.time() < end:
            await self.mischief.wait(*QUIET_SECONDS)
            try:
                await self.mischief.do_next()
            except FaultFailed as failure:
                print(failure, file=sys.stderr)
                # The logs behind the first line are for who runs it, not for a document.
                self.verdict.judge_recovery(self.mischief.windows[-1].name, str(failure).partition("\n")[0])
                return False
            done = self.mischief.windows[-1]
            print(f"{end - loop.time():6.0f} s left: {done.name}, {done.seconds:.1f} s", flush=True)
        await self.mischief.wait(*QUIET_SECONDS)
        return True

    async def _accounts(self) -> dict[str, Account]:
        return {member.name: await account(self._fleet, member) for member in self.mischief.veterans}

    # Judging ---------------------------------------------------------------------------------------

    def _judge_users(self, users: Load) -> None:
        done_with_kubectl = self._kubectl.outcomes if self._kubectl else []
        self.verdict.judge_outcomes(
            [*users.book.outcomes, *self._streams.outcomes, *done_with_kubectl], self.mischief.excuse
        )
        self.verdict.judge_writes(users.book.miscounted(self._fleet.counting.created))
        self.verdict.facts |= {
            "requests": len(users.book.outcomes),
            "kubectl": len(done_with_kubectl),
            "streams": dict(self._streams.opened),
            "tried_again": users.book.retried,
            "memory": {},
            "faults": {name: self._facts_of(name) for name in sorted(DEEDS)},
        }

    def _facts_of(self, name: str) -> dict[str, Any]:
        seconds = [window.seconds for window in self.mischief.windows if window.name == name]
        excused = self.verdict.excused
        return {
            "times": len(seconds),
            "median_seconds": round(part(seconds, 0.5), 1) if seconds else 0.0,
            "longest_seconds": round(max(seconds, default=0.0), 1),
            **{who: excused[name, who] for who in SUFFERERS},
        }

    async def _judge_holdings(self, before: dict[str, Account]) -> None:
        after = await self._at_rest(before)
        self.verdict.judge_leaks(before, after)
        grown = self.verdict.facts["memory"]
        for member in self.mischief.veterans:
            memory = growth(self.sampler.track(member).resident)
            grown[member.name] = {
                "rise_mib": round(memory.rise, 2),
                "noise_mib": round(memory.noise, 2),
                **change(before[member.name].held, after[member.name].held),
            }

    async def _at_rest(self, before: dict[str, Account]) -> dict[str, Account]:
        """Wait until nothing is left over, but not for ever, and return what is held then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + REST_SECONDS
        while True:
            after = await self._accounts()
            if loop.time() > end or not any(leaks(name, before[name], after[name]) for name in after):
                return after
            await asyncio.sleep(1.0)


# Reporting -----------------------------------------------------------------------------------------


def report(facts: dict[str, Any]) -> str:
    """Return a soak's figures as Markdown."""
    memory = "; ".join(
        f"{name} {each['rise_mib']:+.1f} MiB (noise {each['noise_mib']:.1f})" + _alive(each)
        for name, each in facts["memory"].items()
    )
    opened = ", ".join(f"{count} {kind}" for kind, count in facts["streams"].items())
    lines = [
        f"{facts['minutes']:g} minutes, seed {facts['seed']}: {facts['requests']} requests ({facts['tried_again']} tried again), "
        f"{facts['kubectl']} things done with kubectl, streams opened: {opened}. "
        f"Findings: {len(facts['findings'])}. Resident memory behind the warm-up: {memory or 'not judged'}.",
        "",
        *(f"- {finding}" for finding in facts["findings"][:20]),
        *[""][: len(facts["findings"])],
        table(
            ["what was done", "times", "until all was whole, s", "longest", *FAILED], _rows(facts["faults"])
        ),
    ]
    return "\n".join(lines)


def _alive(each: dict[str, Any]) -> str:
    if "blocks" not in each:
        return ""
    return f", at rest {each['rest_mib']:+.1f} MiB and {each['blocks']:+} blocks of live objects"


def _rows(faults: dict[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            str(each["times"]),
            f"{each['median_seconds']:.1f}",
            f"{each['longest_seconds']:.1f}",
            *(str(each[who]) for who in SUFFERERS),
        ]
        for name, each in faults.items()
        if each["times"]
    ]


async def _soak(options: argparse.Namespace, command: str) -> int:
    folder: Path = options.folder
    shutil.rmtree(folder / "fleet", ignore_errors=True)
    (folder / "fleet").mkdir(parents=True)
    async with fleet(folder / "fleet", PLAN) as found:
        soak = Soak(found, options.minutes * 60, options.seed)
        verdict = await soak.run()
        (folder / "soak.svg").write_text(soak.sampler.chart())
        (folder / "tracks.json").write_text(json.dumps([asdict(track) for track in soak.sampler.tracks]))
    facts = {**verdict.facts, "minutes": options.minutes, "seed": options.seed, "findings": verdict.faults}
    facts["origin"] = figures.origin(command)
    (folder / "soak.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(
        f"\n{report(facts)}\n\n{folder / 'soak.svg'}: what the processes held\n{folder / 'fleet'}: their logs"
    )
    for fault in verdict.faults[:50]:
        print(f"FAULT {fault}", file=sys.stderr)
    if options.publish:
        _publish(folder, facts)
    return verdict.exit_code


def _publish(folder: Path, facts: dict[str, Any]) -> None:
    into = ROOT / "docs/reliability"
    for name in ("soak.svg", "soak.json"):
        shutil.copy(folder / name, into / name)
    origin = facts["origin"]
    made = f"`{origin['command']}`, {origin['date']}, commit {origin['commit']}, {origin['machine']}."
    write_between_markers(ROOT / "docs/reliability.md", {"soak": f"{report(facts)}\n\n{made}"})


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--seed", type=int, default=1, help="decides what is done when (1)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build/soak", help="for logs, figures and the chart"
    )
    parser.add_argument("--publish", action="store_true", help="write the figures into docs/reliability.md")
    options = parser.parse_args(words)
    command = f"python -m tests.faults.soak --minutes {options.minutes:g} --seed {options.seed}"
    return uvloop.run(_soak(options, command))


if __name__ == "__main__":
    sys.exit(main())
