"""A backend whose processes do what a test says, and the session of a client against it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

from tests.kubesim.containers import CommandNotStarted, ContainerRefusal, PodName
from tests.kubesim.streaming import NO_FAULTS, StreamingFaults, UpgradeRequest, serve_upgrade
from tests.unit.kubesim.streaming.pipes import End, connection

POD_PATH = "/api/v1/namespaces/default/pods/box/"


class ScriptedProcess:
    """A process whose program is a coroutine of the test."""

    def __init__(self, *, stdin: bool, tty: bool) -> None:
        self._inner, self._outer = connection()
        self.stdin = self._outer.writer if stdin else None
        self.input = self._inner.reader
        self.stdout = asyncio.StreamReader()
        self.stderr = None if tty else asyncio.StreamReader()
        self.sizes: list[tuple[int, int]] = []
        self.resized = asyncio.Event()
        self.killed = asyncio.Event()
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))
        self.resized.set()

    async def wait(self) -> int:
        return await asyncio.shield(self._code)

    def kill(self) -> None:
        self.exit(137)
        self.killed.set()

    def close(self) -> None:
        """Let go of its ends."""
        self._inner.writer.close()
        self._outer.writer.close()

    def exit(self, code: int) -> None:
        """End with `code`, outputs first."""
        if not self._code.done():
            self.stdout.feed_eof()
            if self.stderr is not None:
                self.stderr.feed_eof()
            self._code.set_result(code)


Program = Callable[[ScriptedProcess], Awaitable[None]]


class ScriptedBackend:
    """One pod `box` with one container `main`, in which every command runs `program`."""

    def __init__(self, program: Program | None = None) -> None:
        self._program = program
        self._tasks = asyncio.TaskGroup()
        self.processes: list[ScriptedProcess] = []
        self.dialled: list[End] = []
        self.dial_opened = asyncio.Event()

    async def __aenter__(self) -> "ScriptedBackend":
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._tasks.__aexit__(*exception)  # type: ignore[arg-type]
        for process in self.processes:
            process.close()
        for end in self.dialled:
            end.writer.close()

    def container_of(self, pod: PodName, container: str | None) -> str:
        if pod.name != "box":
            raise ContainerRefusal(404, "NotFound", f'pods "{pod.name}" not found')
        return "main"

    async def exec(
        self, pod: PodName, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> ScriptedProcess:
        if command == ["nope"]:
            raise CommandNotStarted('exec: "nope": executable file not found in $PATH')
        return self._start(stdin=stdin, tty=tty)

    async def attach(self, pod: PodName, container: str, *, stdin: bool, tty: bool) -> ScriptedProcess:
        return self._start(stdin=stdin, tty=tty)

    def _start(self, *, stdin: bool, tty: bool) -> ScriptedProcess:
        process = ScriptedProcess(stdin=stdin, tty=tty)
        self.processes.append(process)
        if self._program is not None:
            self._tasks.create_task(self._program(process))  # type: ignore[arg-type]
        return process

    async def dial(self, pod: PodName, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        near, far = connection()
        self.dialled.append(far)
        self.dial_opened.set()
        return near.reader, near.writer


def parse_request(head: bytes) -> UpgradeRequest:
    """Return a request's head, unpacked."""
    first, *lines = head.decode("latin-1").split("\r\n")[:-2]
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    pairs = (line.partition(":") for line in lines)
    headers = [(name, value.strip()) for name, _, value in pairs]
    return UpgradeRequest(method, path, parse_qsl(query, keep_blank_values=True), headers)


@asynccontextmanager
async def serving(backend: ScriptedBackend, faults: StreamingFaults = NO_FAULTS) -> AsyncIterator[End]:
    """Yield a client's connection to a server that serves one upgrade; it must end by itself afterwards."""
    client, server = connection()

    async def serve() -> None:
        request = parse_request(await server.reader.readuntil(b"\r\n\r\n"))
        await serve_upgrade(request, server.reader, server.writer, backend, faults=faults)

    async with asyncio.timeout(10), backend, asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        yield client
        client.writer.close()


async def echo_and_exit(process: ScriptedProcess) -> None:
    """A program: write to both outputs, then exit with 7."""
    process.stdout.feed_data(b"out")
    if process.stderr is not None:
        process.stderr.feed_data(b"err")
    process.exit(7)


async def cat(process: ScriptedProcess) -> None:
    """A program: copy the input to the output, then exit with 0."""
    while data := await process.input.read(65536):
        process.stdout.feed_data(data)
    process.exit(0)
