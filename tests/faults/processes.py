"""Stubs and agents as processes that can be killed, frozen, starved and started again at the same addresses."""

import asyncio
import itertools
import json
import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Final

from tests.faults.http import Answer, Broken, Connection
from tests.ports import free_port

ROOT: Final = Path(__file__).parents[2]
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")

START_SECONDS: Final = 120.0
"""Until a process serves: two seconds, but minutes on a machine that has much else to do."""

LOOK_SECONDS: Final = 0.02


class FaultFailed(AssertionError):
    """What was to happen did not; the text says what, and what the process said."""


def environment() -> dict[str, str]:
    """Return this process's environment without what would change a child's settings or way to its peers."""
    foreign = ("CTUN_", "KUBE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(foreign)}


@dataclass(frozen=True, slots=True)
class Held:
    """What a process holds at one moment.

    Attributes:
        resident_bytes: of memory.
        descriptors: open ones.
        tasks: asyncio tasks by their names, without numbers.
        blocks: of memory that Python's objects take.
    """

    resident_bytes: int
    descriptors: int
    tasks: dict[str, int]
    blocks: int


@dataclass(eq=False)
class Member:
    """One stub or agent.

    Args:
        name: of its log, and for messages.
        folder: where it runs.
        arguments: its command line.
        settings: environment variables beside.
        module: what Python runs.
    """

    name: str
    folder: Path
    arguments: Sequence[str]
    settings: dict[str, str] = field(default_factory=dict)
    module: str = "tests.faults.command"
    process: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> Path:
        """What all processes of this name wrote."""
        return self.folder / f"{self.name}.log"

    @property
    def stock_file(self) -> Path:
        """Where it writes its tasks and blocks."""
        return self.folder / f"{self.name}.stock"

    @property
    def running(self) -> asyncio.subprocess.Process:
        """The process there is."""
        assert self.process is not None, f"{self.name} was never started"
        return self.process

    @property
    def alive(self) -> bool:
        """Whether it runs, or is frozen."""
        return self.process is not None and self.process.returncode is None

    # Starting and ending ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Start it (again), without waiting until it serves."""
        assert not self.alive
        command = [sys.executable, "-m", self.module, *self.arguments]
        own = {
            **environment(),
            "PYTHONPATH": str(ROOT),
            "FAULTS_STOCK": str(self.stock_file),
            **self.settings,
        }
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, cwd=self.folder, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=own
            )

    async def until(self, serves: Callable[[], Awaitable[object]], seconds: float = START_SECONDS) -> None:
        """Wait until something about it is true."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await serves():
            if not self.alive:
                raise FaultFailed(f"{self.name} ended by itself\n{self.said()}")
            if asyncio.get_running_loop().time() > deadline:
                raise FaultFailed(f"{self.name} does not serve in {seconds:.0f} s\n{self.said()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def ended(self, seconds: float = START_SECONDS) -> int:
        """Wait until it has ended and return its exit status, negative where a signal ended it."""
        try:
            async with asyncio.timeout(seconds):
                return await self.running.wait()
        except TimeoutError:
            raise FaultFailed(f"{self.name} still runs after {seconds:.0f} s\n{self.said()}") from None

    async def stop(self) -> None:
        """End it for good, whatever state it is in."""
        if self.alive:
            self.signal(signal.SIGKILL)
            await self.running.wait()

    # What can be done to it ------------------------------------------------------------------------

    def signal(self, number: Signals) -> None:
        """Send it a signal."""
        # Already ended where the two crossed.
        with suppress(ProcessLookupError):
            self.running.send_signal(number)

    def terminate(self) -> None:
        """Ask it to drain and end."""
        self.signal(signal.SIGTERM)

    def kill(self) -> None:
        """Let it crash."""
        self.signal(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it stand still."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.signal(signal.SIGCONT)

    def limit_descriptors(self, spare: int | None) -> None:
        """Let it open only `spare` descriptors more than it has; None lets it open as many as it may."""
        _, hard = resource.prlimit(self.running.pid, resource.RLIMIT_NOFILE)
        limit = hard if spare is None else self._number_free(spare)
        resource.prlimit(self.running.pid, resource.RLIMIT_NOFILE, (limit, hard))

    def _number_free(self, spare: int) -> int:
        """Return the number below which `spare` are free: numbers are limited, not how many are open."""
        taken = set(map(int, os.listdir(f"/proc/{self.running.pid}/fd")))
        free = (number for number in itertools.count() if number not in taken)
        return next(itertools.islice(free, spare, None))

    def limit_files(self, size: int | None) -> None:
        """Let no file that it writes become larger than `size` bytes, as on a disk that is full; None lifts that."""
        _, hard = resource.prlimit(self.running.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.running.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))

    # Looking at it ---------------------------------------------------------------------------------

    def take_stock(self) -> None:
        """Let it write its stock file; nothing is done where it has only just been started."""
        if self._catches(signal.SIGUSR2):
            self.signal(signal.SIGUSR2)

    def _catches(self, number: Signals) -> bool:
        """Whether the signal has a meaning to it yet: until then it would end it."""
        with suppress(FileNotFoundError):
            for line in Path(f"/proc/{self.running.pid}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) & 1 << (number - 1))
        return False

    async def held(self) -> Held:
        """Return what it holds now, garbage left out."""
        self.stock_file.unlink(missing_ok=True)
        self.stock_file.with_suffix(".thorough").touch()
        self.take_stock()
        async with asyncio.timeout(START_SECONDS):
            while not self.stock_file.exists():
                await asyncio.sleep(LOOK_SECONDS)
        stock = json.loads(self.stock_file.read_text())
        return Held(*self.memory_and_descriptors(), stock["tasks"], stock["blocks"])

    def memory_and_descriptors(self) -> tuple[int, int]:
        """Return its resident bytes and how many descriptors it has open. Raises FileNotFoundError where it has ended."""
        process = Path(f"/proc/{self.running.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return pages * PAGE_BYTES, len(os.listdir(process / "fd"))

    def audit(self) -> list[dict[str, Any]]:
        """Return the lines of its audit log; a last one that is not whole is left out."""
        path = self.folder / f"{self.name}.audit"
        whole, _, _ = (path.read_bytes() if path.exists() else b"").rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def said(self, lines: int = 40) -> str:
        """Return the end of its log."""
        if not self.log.exists():
            return f"{self.name} wrote nothing"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def has_said(self, text: str) -> int:
        """Return how many lines of its log contain the text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())


@dataclass(eq=False)
class StubProcess(Member):
    """A stub: users and agents connect to `port`; its admin endpoints are at `admin_port`."""

    port: int = 0
    admin_port: int = 0

    async def admin(self, path: str, seconds: float = 2.0) -> Answer | None:
        """Return what an admin endpoint answers, or None where it does not."""
        try:
            async with asyncio.timeout(seconds):
                connection = await Connection.open(self.admin_port)
                try:
                    return await connection.ask("GET", path)
                finally:
                    connection.close()
        except (OSError, Broken, TimeoutError):
            return None

    async def facts(self, path: str) -> Any:
        """Return what an admin endpoint answers as JSON; None where it does not answer."""
        answer = await self.admin(path)
        return json.loads(answer.body) if answer is not None and answer.status == 200 else None

    async def is_ready(self) -> bool:
        """Whether it says so, as a kubelet asks."""
        answer = await self.admin("/readyz")
        return answer is not None and answer.status == 200

    def oversleep(self) -> None:
        """Let its election think that the machine was suspended for a minute."""
        self.signal(signal.SIGUSR1)

    async def lease(self) -> dict[str, Any]:
        """Return what it knows of the lease; nothing where it does not answer."""
        return await self.facts("/lease") or {}

    async def is_active(self) -> bool:
        """Whether it says that it is the active one."""
        return (await self.lease()).get("state") == "active"

    async def sessions(self) -> list[dict[str, Any]]:
        """Return the sessions that it lists, of all clusters; an agent may have two, where one has broken unnoticed."""
        found = await self.facts("/clusters") or {}
        return [{**each, "cluster": cluster} for cluster, agents in found.items() for each in agents]

    async def agents(self, cluster: str) -> dict[str, dict[str, Any]]:
        """Return the agents that it lists for a cluster, by name."""
        return {each["agent"]: each for each in await self.sessions() if each["cluster"] == cluster}


@dataclass(eq=False)
class AgentProcess(Member):
    """An agent. It asks the apiserver with a token of its own."""

    def hurry(self) -> None:
        """Let it dial what is missing at once."""
        self.signal(signal.SIGHUP)


def ports(count: int) -> list[int]:
    """Return free ports of the loopback."""
    return [free_port() for _ in range(count)]
