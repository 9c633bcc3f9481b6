"""The control socket of a running stub or agent: what changes something is asked for here, by an operator on the same machine.

A connection carries one request, a line of JSON, and its answer, lines of JSON: any number of reports, then `done` or `error`.

    {"command": "drain"}
    {"report": {"running": 2}}
    {"done": {"running": 0}}

The socket has mode 0600: only the user that runs the process may ask, who could send it signals as well.
"""

import asyncio
import json
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, cast

from tunnel.aio.operations import Answer, Draining, Operation, Profiling, Request
from tunnel.kit.failures import CommandFailed

MODE: Final = 0o600

REQUEST_BYTES: Final = 4096

REQUEST_SECONDS: Final = 5.0
"""How long a connection may take to say what it wants."""

CONNECTIONS: Final = 8

FLUSH_SECONDS: Final = 1.0
"""How long the last answers may take to leave when the process ends."""

_log = logging.getLogger(__name__)


class ControlConnection(asyncio.Protocol):
    """One request and its answer.

    Args:
        control: the socket that it came by.
    """

    transport: asyncio.Transport

    def __init__(self, control: "ControlSocket") -> None:
        self._control = control
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None
        self.operation: Operation | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._control.connections.add(self)
        if len(self._control.connections) > CONNECTIONS:
            self._fail("too many are asking at once")
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(REQUEST_SECONDS, self._fail, "no request came in time")

    def data_received(self, data: bytes) -> None:
        if self.operation is not None or self.transport.is_closing():
            return  # a second request has no place on this connection
        self._received += data
        line, end, _ = self._received.partition(b"\n")
        if end:
            self._begin(line)
        elif len(self._received) > REQUEST_BYTES:
            self._fail("the request is too long")

    def connection_lost(self, error: Exception | None) -> None:
        self._stop_waiting()
        self._control.gone(self)
        operation, self.operation = self.operation, None
        if operation is not None:
            operation.abandon()

    def _begin(self, line: bytes) -> None:
        self._stop_waiting()
        try:
            self.operation = self._control.begin(_decode(line), self)
        except (ValueError, CommandFailed) as error:
            self._fail(str(error))

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    # As its operation's Answer -----------------------------------------------------------------------

    def report(self, **facts: object) -> None:
        self._write("report", facts)

    def done(self, **facts: object) -> None:
        self.operation = None
        self._write("done", facts)
        self.transport.close()

    def _fail(self, text: str) -> None:
        self._write("error", text)
        self.transport.close()

    def _write(self, kind: str, content: object) -> None:
        self.transport.write(json.dumps({kind: content}).encode() + b"\n")


def _decode(line: bytes) -> Request:
    try:
        request = json.loads(line)  # what is no JSON raises a ValueError with the place
    except RecursionError:
        raise ValueError("the request is nested too deeply") from None
    if not isinstance(request, dict):
        raise ValueError("a request is a JSON object")
    return request


class ControlSocket:
    """Listens for operators.

    Args:
        path: of the socket.
        stopping: makes the process drain.
        running: counts the requests and pipes that a drain waits for.
    """

    def __init__(self, path: Path, stopping: asyncio.Event, running: Callable[[], int]) -> None:
        self._path = path
        self._stopping = stopping
        self._running = running
        self._server: asyncio.Server | None = None
        self._inode = 0
        self.connections: set[ControlConnection] = set()
        self._quiet = asyncio.Event()

    def begin(self, request: Request, answer: Answer) -> Operation:
        """Do what is asked.

        Raises:
            ValueError: the request makes no sense.
            CommandFailed: it cannot be done now.
        """
        match request.get("command"):
            case "drain":
                return Draining(answer, self._stopping, self._running)
            case "profile":
                return Profiling(answer, request)
            case other:
                raise ValueError(f"unknown command {other!r}: known are drain and profile")

    async def start(self) -> None:
        """Listen.

        Raises:
            CommandFailed: the path cannot be used.
        """
        try:
            listening = _bind(self._path)
        except OSError as error:
            raise CommandFailed(f"--control {self._path}: {error.strerror or error}") from None
        self._inode = os.lstat(self._path).st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: ControlConnection(self), sock=listening)

    async def stop(self) -> None:
        """Give the last answers and listen no more."""
        if self._server is not None:
            self._server.close()
        self._unlink()
        for connection in list(self.connections):
            if connection.operation is not None:
                connection.operation.finish()
            connection.transport.close()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                while self.connections:
                    self._quiet.clear()
                    await self._quiet.wait()
        except TimeoutError:
            for connection in self.connections:
                connection.transport.abort()

    def gone(self, connection: ControlConnection) -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        self._quiet.set()

    def _unlink(self) -> None:
        try:
            # Another process may have taken the path over meanwhile.
            if os.lstat(self._path).st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            _log.debug("the control socket was removed by somebody else")


def _bind(path: Path) -> socket.socket:
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        # It does not listen yet, so there is no moment in which others can connect.
        path.chmod(MODE)
    except OSError:
        listening.close()
        raise
    return listening


def _remove_stale(path: Path) -> None:
    """Remove what a process has left behind that did not end in order."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise CommandFailed(f"--control {path}: something else is there, which is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise CommandFailed(f"--control {path}: another process listens there")


@asynccontextmanager
async def control_socket(
    path: Path | None, stopping: asyncio.Event, running: Callable[[], int]
) -> AsyncIterator[None]:
    """Listen for operators while the block runs, which ends when everything is drained.

    Args:
        path: of the socket; with None nothing is listened on.
        stopping: set where an operator asks for a drain.
        running: counts the requests and pipes that a drain waits for.

    Raises:
        CommandFailed: the path cannot be used.
    """
    if path is None:
        yield
        return
    control = ControlSocket(path, stopping, running)
    await control.start()
    try:
        yield
    finally:
        await control.stop()
