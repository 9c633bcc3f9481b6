"""What honest users notice of hostile clients and agents:

    python -m tests.bench.hostile_clients [--seconds 8] [PART OF AN ATTACK'S NAME...]

A stub, an agent and an upstream run as processes of their own, and so do those who attack. Four users ask for a list at a steady
pace on connections of their own, and somebody connects anew five times a second. For each attack there is a line: the 99th
percentiles before it and during it, and what part of a processor the stub used meanwhile. The machine's own processors are shared by all of them, so what an attack costs the attacker
is in the figures as well.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from certs.lifetime import USER_LIFE, Lifetime, utc_now
from certs.store import CertificateStore
from tests.bench.attacks import HOSTILE
from tests.bench.installation import Installation, installation, make_folder, user_context
from tests.bench.processes import Side, Worker, allow_open_files, worker
from tests.bench.users import LIST, NotServed, User, get, percentile
from tests.integration.floods import FLOODS

ATTACKS: Final = ("500 slow clients", "500 idle handshakes", "500 that come again at once", *FLOODS)
ASKING: Final = 4
PACE_SECONDS: Final = 0.02
CONNECT_SECONDS: Final = 0.2
SETTLE_SECONDS: Final = 2.0

_LINE: Final = "{:<34}{:>10}{:>10}{:>8}{:>12}{:>10}{:>8}{:>10}{:>16}"
HEAD: Final = _LINE.format(
    "attack", "p99 ms", "during", "ratio", "connect ms", "during", "CPU", "failures", "times (told)"
)


class Honest:
    """Users that only want their answers.

    Args:
        port: of the stub.
        folder: holds certificates.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._context = user_context(folder)
        self._asked: list[float] = []
        self._connected: list[float] = []
        self.failures = 0

    async def measure(self, seconds: float) -> tuple[float, float]:
        """Ask for so long; return the 99th percentiles of an answer and of a connection with an answer, in milliseconds."""
        self._asked, self._connected = [], []
        end = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as tasks:
            for _ in range(ASKING):
                tasks.create_task(self._ask(end))
            tasks.create_task(self._come(end))
        return tuple(1000 * percentile(sorted(each), 0.99) for each in (self._asked, self._connected))  # type: ignore[return-value]

    async def _connect(self) -> User:
        loop = asyncio.get_running_loop()
        _, user = await loop.create_connection(
            User, "localhost", self._port, ssl=self._context, server_hostname="localhost"
        )
        return user

    async def _ask(self, end: float) -> None:
        user = await self._connect()
        while (began := time.perf_counter()) < end:
            await user.ask(get(LIST))
            self._asked.append(time.perf_counter() - began)
            await asyncio.sleep(PACE_SECONDS)
        user.transport.abort()

    async def _come(self, end: float) -> None:
        while (began := time.perf_counter()) < end:
            try:
                user = await self._connect()
                await user.ask(get(LIST))
                user.transport.abort()
            except (OSError, NotServed):
                self.failures += 1
            self._connected.append(time.perf_counter() - began)
            await asyncio.sleep(CONNECT_SECONDS)


async def measured(honest: Honest, attackers: Worker, stub: Side, attack: str, seconds: float) -> str:
    """Return the line of one attack."""
    honest.failures = 0
    before, connect_before = await honest.measure(seconds)
    attackers.ask(do="begin", attack=attack)
    await asyncio.sleep(SETTLE_SECONDS)
    used = stub.cpu_seconds()
    during, connect_during = await honest.measure(seconds)
    used = stub.cpu_seconds() - used
    ended = attackers.ask(do="end")
    await asyncio.sleep(SETTLE_SECONDS)
    return _LINE.format(
        attack,
        *(f"{value:.1f}" for value in (before, during)),
        f"{during / before:.1f}",
        *(f"{value:.0f}" for value in (connect_before, connect_during)),
        f"{100 * used / seconds:.0f} %",
        honest.failures,
        f"{ended['times']} ({ended['told']})",
    )


async def compare(folder: Path, running: Installation, attacks: list[str], seconds: float) -> None:
    """Carry one attack out after the other and print what it did to the honest."""
    honest = Honest(running.port, folder)
    await honest.measure(2)  # the first answers wait for channels
    with worker("attacks", running.port, folder) as attackers:
        for attack in attacks:
            print(await measured(honest, attackers, running.stub, attack, seconds), flush=True)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.hostile_clients")
    parser.add_argument(
        "words", nargs="*", metavar="PART", help=f"of the names of attacks: {', '.join(ATTACKS)}"
    )
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="before and during each (default: %(default)s)"
    )
    options = parser.parse_args()
    chosen = [each for each in ATTACKS if not options.words or any(word in each for word in options.words)]
    if not chosen:
        parser.error(f"no attack has such a name; there are {', '.join(ATTACKS)}")
    allow_open_files()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_folder(folder)
        CertificateStore(folder / "ca").issue_agent(HOSTILE, Lifetime.starting(utc_now(), USER_LIFE))
        print(HEAD, flush=True)
        with installation(folder) as running:
            asyncio.run(compare(folder, running, chosen, options.seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
