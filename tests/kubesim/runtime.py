"""Running containers: `ContainerBackend` and the source of all logs."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.kubesim import clock
from tests.kubesim.containers import ContainerRefusal, PodName
from tests.kubesim.logs import ContainerLog
from tests.kubesim.processes import Process
from tests.kubesim.sandboxes import Sandboxes

_PUMP_BYTES: Final = 32 * 1024
_APPLETS: Final = "/run/applets"


class _Tap(asyncio.ReadTransport):
    """Feeds one attached client; a full one holds the container's output back, as a FIFO would."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = asyncio.StreamReader()
        self.reader.set_transport(self)
        self._free = asyncio.Event()
        self._free.set()
        self.closed = False

    def pause_reading(self) -> None:
        self._free.clear()

    def resume_reading(self) -> None:
        self._free.set()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._free.set()
            self.reader.feed_eof()

    async def feed(self, data: bytes) -> None:
        """Deliver data as soon as the client has room."""
        await self._free.wait()
        if not self.closed:
            self.reader.feed_data(data)


@dataclass(slots=True)
class ContainerRun:
    """One run of a container's main process."""

    process: Process
    tty: bool
    log: ContainerLog
    started: str
    env: dict[str, str]
    cwd: str
    taps: list["Attachment"] = field(default_factory=list)
    exit_code: int | None = None
    finished: str = ""
    stdin_once: bool = False

    async def watch(self) -> int:
        """Carry its output into the log and to whoever is attached, until it has ended; return its exit code."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump("stdout", self.process.stdout))
            if self.process.stderr is not None:
                group.create_task(self._pump("stderr", self.process.stderr))
            self.exit_code = await self.process.wait()
            self.finished = clock.now()
            # What a daemon it left behind holds open is not waited for.
            group.create_task(self._close_outputs_later())
        self.log.finish()
        for tap in list(self.taps):
            tap.ended(self.exit_code)
        return self.exit_code

    async def _pump(self, stream: str, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_PUMP_BYTES):
            self.log.write(stream, data)
            for tap in list(self.taps):
                await tap.feed(stream, data)

    async def _close_outputs_later(self) -> None:
        for _ in range(20):
            outputs = [self.process.stdout, *([self.process.stderr] if self.process.stderr else [])]
            if all(reader.at_eof() for reader in outputs):
                return
            await asyncio.sleep(0.05)
        self.process.kill()
        for reader in outputs:
            reader.feed_eof()


class AttachedStdin:
    """One client's end of a container's stdin, which outlives the client.

    As in containerd, the end of a client's input is the container's only with `stdinOnce` and without a terminal; otherwise it
    means that this client detaches.
    """

    def __init__(self, stdin: asyncio.StreamWriter, *, once: bool, detach: Callable[[], None]) -> None:
        self._stdin = stdin
        self._end = stdin.close if once else detach

    def write(self, data: bytes) -> None:
        self._stdin.write(data)

    async def drain(self) -> None:
        await self._stdin.drain()

    def close(self) -> None:
        self._end()


class Attachment:
    """One client attached to a container's main process; `RunningProcess` of the seam."""

    def __init__(self, run: ContainerRun, *, stdin: bool) -> None:
        self._run = run
        self._out = _Tap()
        self._err = _Tap()
        once = run.stdin_once and not run.tty
        own = run.process.stdin if stdin else None
        self.stdin = None if own is None else AttachedStdin(own, once=once, detach=self.kill)
        self.stdout = self._out.reader
        self.stderr = None if run.tty else self._err.reader
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        run.taps.append(self)

    async def feed(self, stream: str, data: bytes) -> None:
        """Deliver output of the container."""
        await (self._err if stream == "stderr" else self._out).feed(data)

    def ended(self, code: int) -> None:
        """Note the container's end."""
        self._out.close()
        self._err.close()
        if not self._code.done():
            self._code.set_result(code)

    def resize(self, width: int, height: int) -> None:
        self._run.process.resize(width, height)

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        """Detach; the container goes on."""
        if self in self._run.taps:
            self._run.taps.remove(self)
        self.ended(0)


@dataclass(slots=True)
class PodRuntime:
    """A pod's sandbox and its containers."""

    uid: str
    key: str
    directory: Path
    default_container: str
    runs: dict[str, ContainerRun] = field(default_factory=dict)
    previous: dict[str, ContainerLog] = field(default_factory=dict)


class Runtime:
    """All pods that have a sandbox.

    Args:
        directory: pods' private directories are made in it.
        applets: the host's busybox applets, None where it has none.
    """

    def __init__(self, sandboxes: Sandboxes, directory: Path, applets: Path | None) -> None:
        self.sandboxes = sandboxes
        self._applets = applets
        self._directory = directory
        self._pods: dict[PodName, PodRuntime] = {}

    @property
    def applets(self) -> str:
        """Where containers find busybox's applets, "" where there are none; known once a pod was added."""
        if self._applets is None:
            return ""
        return _APPLETS if self.sandboxes.isolated else str(self._applets)

    async def add_pod(self, pod: PodName, uid: str, default_container: str, files: dict[str, str]) -> None:
        """Make a pod's sandbox.

        Args:
            files: contents by path below the pod's root.
        """
        directory = self._directory / f"{pod.namespace}_{pod.name}_{uid}"
        for name, text in files.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        directory.mkdir(parents=True, exist_ok=True)
        binds = {_APPLETS: str(self._applets)} if self._applets else {}
        await self.sandboxes.make(uid, directory, pod.name[:63], binds)
        self._pods[pod] = PodRuntime(uid, uid, directory, default_container)

    def remove_pod(self, pod: PodName) -> None:
        """Kill all that runs in a pod, and forget it."""
        found = self._pods.pop(pod, None)
        if found is not None:
            self.sandboxes.end(found.key)

    def directory_of(self, pod: PodName) -> Path:
        """Return the private directory that is a pod's root."""
        return self._pods[pod].directory

    async def start(
        self,
        pod: PodName,
        container: str,
        argv: list[str],
        env: dict[str, str],
        cwd: str,
        *,
        stdin: bool,
        tty: bool,
    ) -> ContainerRun:
        """Start a container's main process.

        Raises:
            CommandNotStarted: it cannot be executed.
        """
        found = self._pods[pod]
        old = found.runs.get(container)
        if old is not None:
            found.previous[container] = old.log
        process = await self.sandboxes.run(found.key, argv, env, cwd, stdin=stdin, tty=tty)
        run = ContainerRun(process, tty, ContainerLog(), clock.now(), env, cwd)
        found.runs[container] = run
        return run

    def log_of(self, pod: PodName, uid: str, container: str, *, previous: bool) -> ContainerLog | None:
        """Return a run's log; see `LogSource`."""
        found = self._pods.get(pod)
        if found is None or found.uid != uid:
            return None
        if previous:
            return found.previous.get(container)
        run = found.runs.get(container)
        return run.log if run else None

    def container_of(self, pod: PodName, container: str | None) -> str:
        """See `ContainerBackend`."""
        found = self._pod(pod)
        name = container or found.default_container
        run = found.runs.get(name)
        if run is None:
            raise ContainerRefusal(400, "BadRequest", f"container {name} is not valid for pod {pod.name}")
        if run.exit_code is not None:
            if all(r.exit_code is not None for r in found.runs.values()):
                text = "cannot exec into a container in a completed pod; current phase is Succeeded"
                raise ContainerRefusal(500, "InternalError", text)
            text = f'container not found ("{name}")'
            raise ContainerRefusal(500, "InternalError", f"unable to upgrade connection: {text}")
        return name

    def _pod(self, pod: PodName) -> PodRuntime:
        found = self._pods.get(pod)
        if found is None:
            raise ContainerRefusal(404, "NotFound", f'pods "{pod.name}" not found')
        return found

    def _run(self, pod: PodName, container: str) -> ContainerRun:
        self.container_of(pod, container)
        return self._pods[pod].runs[container]

    async def exec(
        self, pod: PodName, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> Process:
        """See `ContainerBackend`."""
        run = self._run(pod, container)
        return await self.sandboxes.run(self._pods[pod].key, command, run.env, run.cwd, stdin=stdin, tty=tty)

    async def attach(self, pod: PodName, container: str, *, stdin: bool, tty: bool) -> Attachment:
        """See `ContainerBackend`."""
        return Attachment(self._run(pod, container), stdin=stdin)

    async def dial(self, pod: PodName, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See `ContainerBackend`."""
        return await self.sandboxes.dial(self._pod(pod).key, port)

    async def stop(self, pod: PodName, grace: float) -> None:
        """Ask a pod's containers to end, and kill them when the grace is over."""
        found = self._pods.get(pod)
        runs = [run for run in found.runs.values() if run.exit_code is None] if found else []
        for run in runs:
            run.process.signal(signal.SIGTERM)
        if runs and grace > 0:
            waits: list[Awaitable[int]] = [run.process.wait() for run in runs]
            # Whatever has not ended in time is killed below.
            await asyncio.wait([asyncio.ensure_future(wait) for wait in waits], timeout=grace)
        for run in runs:
            run.process.signal(signal.SIGKILL)
