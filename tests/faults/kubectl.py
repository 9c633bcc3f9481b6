"""A user with kubectl, who does one thing after the other in the simulated cluster and knows what must come of it."""

import asyncio
import itertools
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.fleet import SIMULATED, Fleet
from tests.faults.load import Outcome
from tests.faults.processes import ROOT, environment
from tests.faults.upstream import USER
from tests.scenarios.binaries import newest

RUN_SECONDS: Final = 60.0
PIPED_BYTES: Final = 100_000
NOT_STARTED: Final = 127


@dataclass(frozen=True, slots=True)
class Said:
    """What one kubectl said."""

    code: int
    output: bytes
    errors: str


@dataclass
class KubectlUser:
    """See the module.

    Attributes:
        binary: the newest kubectl that was found.
        kubeconfig: leads to the simulated cluster through the stubs.
        outcomes: of all that was done.
    """

    binary: Path
    kubeconfig: Path
    home: Path
    outcomes: list[Outcome] = field(default_factory=list)

    async def run(self) -> None:
        """Do one thing after the other until cancelled."""
        deeds: list[Callable[[str], Awaitable[str]]] = [self._write_and_read, self._pipe, self._list]
        for number, deed in enumerate(itertools.cycle(deeds)):
            name = f"soak-{number}"
            began = asyncio.get_running_loop().time()
            problem = await deed(name)
            ended = asyncio.get_running_loop().time()
            wrong = problem.startswith("wrong")
            self.outcomes.append(Outcome("kubectl", deed.__name__, "", began, ended, 1, 0, problem, wrong))
            await asyncio.sleep(0.5)

    async def _write_and_read(self, name: str) -> str:
        made = await self.say("create", "configmap", name, f"--from-literal=value={name}")
        if made.code:
            return made.errors
        read = await self.say("get", "configmap", name, "-o", "jsonpath={.data.value}")
        if read.code:
            return read.errors
        gone = await self.say("delete", "configmap", name)
        if gone.code:
            return gone.errors
        return "" if read.output == name.encode() else f"wrong value: {read.output!r}"

    async def _pipe(self, name: str) -> str:
        sent = random.Random(name).randbytes(PIPED_BYTES // 2).hex().encode()
        said = await self.say("exec", "-i", "shell", "--", "cat", given=sent)
        if said.code:
            return said.errors
        return "" if said.output == sent else f"wrong bytes: {len(said.output)} of {len(sent)}"

    async def _list(self, name: str) -> str:
        said = await self.say("get", "pods", "shell", "ticker", "-o", "name")
        if said.code:
            return said.errors
        return "" if said.output == b"pod/shell\npod/ticker\n" else f"wrong list: {said.output!r}"

    async def say(self, *words: str, given: bytes = b"") -> Said:
        """Run kubectl to its end."""
        process = await asyncio.create_subprocess_exec(
            *(str(self.binary), f"--kubeconfig={self.kubeconfig}", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**environment(), "HOME": str(self.home)},
        )
        try:
            async with asyncio.timeout(RUN_SECONDS):
                output, errors = await process.communicate(given)
        except TimeoutError:
            return Said(NOT_STARTED, b"", f"no end within {RUN_SECONDS:.0f} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return Said(process.returncode or 0, output, errors.decode(errors="replace").strip())


def kubectl_user(fleet: Fleet) -> KubectlUser | None:
    """Return a user of a fleet with a simulated cluster; None where there is no kubectl that tells a pipe's end from its being cut,
    which over SPDY it does not."""
    binary = newest()
    if binary is None or not binary.speaks_websocket_first:
        return None
    path = fleet.folder / "kubeconfig"
    server = f"https://localhost:{fleet.service.port}"
    words = [
        "kubeconfig",
        USER,
        f"--cluster={SIMULATED}",
        "-g",
        "devs",
        f"--server={server}",
        "--dir=ca",
        f"-o={path}",
    ]
    subprocess.run([sys.executable, "-m", "tunnel", *words], cwd=fleet.folder, env=_here(), check=True)
    return KubectlUser(binary.path, path, fleet.folder)


def _here() -> dict[str, str]:
    return {**environment(), "PYTHONPATH": str(ROOT)}
