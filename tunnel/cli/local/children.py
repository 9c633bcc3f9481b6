"""Child processes that are watched, whose output goes to log files, and that never outlive their parent.

All children form one process group. Its leader is the guard, a shell that reads from a pipe only the parent holds: when the
parent is gone, however it went, the pipe ends, and the guard ends the group. That works on Linux and macOS alike and asks
nothing of the children; PR_SET_PDEATHSIG is Linux only and lost by a child that changes its user.
A terminal's Ctrl-C reaches the parent alone, since the children are in another group: it ends them in order.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tunnel.kit.failures import CommandFailed

GRACE_SECONDS: Final = 5.0
"""Between SIGTERM and SIGKILL."""

LOG_LINES: Final = 10
"""How much of a log is shown when its process ended."""

_GUARD: Final = f"trap '' TERM INT HUP; read -r _; kill -TERM 0; sleep {GRACE_SECONDS:.0f}; kill -KILL 0"


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started.

    Attributes:
        name: what messages call it.
        log: the file that holds what it wrote.
    """

    name: str
    process: Process
    log: Path

    def last_lines(self) -> list[str]:
        """Return the end of its log."""
        return self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]

    def obituary(self) -> str:
        """Return in one line how it ended."""
        code = self.process.returncode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"{self.name} {how}; its log is {self.log}"


class Children:
    """The children of this process. Leaving the context ends all of them; it can be entered once.

    Args:
        logs: the folder for their log files, which exists.
        folder: where they run.
        environ: their environment.
    """

    def __init__(self, logs: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self._logs = logs
        self._folder = folder
        self._environ = environ
        self._running: list[Child] = []
        self._ended: asyncio.Queue[Child] = asyncio.Queue()
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._guard = await asyncio.create_subprocess_exec(
            *("sh", "-c", _GUARD), stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0
        )
        return self

    async def start(
        self, name: str, arguments: Sequence[str], on_line: Callable[[str], None] | None = None
    ) -> Child:
        """Start `python ARGUMENTS` and watch it.

        Args:
            name: what messages and its log file call it.
            arguments: what follows the interpreter.
            on_line: called with each line it writes to standard output, which goes to the log as well.
        """
        log = self._logs / f"{name}.log"
        log.write_bytes(b"")
        # Appending, because two write to it where standard output passes through us.
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *arguments,
                stdin=DEVNULL,
                stdout=PIPE if on_line else file,
                stderr=file if on_line else STDOUT,
                cwd=self._folder,
                env=self._environ,
                process_group=self._guard.pid,
            )
        child = Child(name, process, log)
        self._running.append(child)
        self._tasks.create_task(self._watch(child, on_line), name=f"watch {name}")
        return child

    async def _watch(self, child: Child, on_line: Callable[[str], None] | None) -> None:
        if on_line is not None and child.process.stdout is not None:
            with child.log.open("ab") as log:
                async for line in child.process.stdout:
                    log.write(line)
                    log.flush()
                    on_line(line.decode(errors="replace").rstrip())
        await child.process.wait()
        self._running.remove(child)
        self._ended.put_nowait(child)

    async def wait_for_death(self) -> Child:
        """Return the next child that ended by itself. Cancelling loses nothing."""
        return await self._ended.get()

    async def fail_on_death(self) -> None:
        """Wait until a child ends, show the end of its log, and raise CommandFailed naming it."""
        child = await self.wait_for_death()
        for line in child.last_lines():
            print(f"  {child.name}: {line}", file=sys.stderr)
        raise CommandFailed(child.obituary())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # A second signal cancels us: then there is no more patience.
            if not isinstance(error, asyncio.CancelledError):
                await self._end_politely()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            await self._guard.wait()
            await self._tasks.__aexit__(None, None, None)

    async def _end_politely(self) -> None:
        for child in self._running:
            with suppress(ProcessLookupError):
                child.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._running:
                    await self.wait_for_death()
