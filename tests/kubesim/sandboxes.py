"""The simulator's side of the launcher: sandboxes of pods, and commands that run in them."""

import array
import asyncio
import errno
import json
import os
import re
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

from tests.kubesim.containers import CommandNotStarted
from tests.kubesim.processes import FdTransport, Process, Stdio

_LAUNCHER: Final = Path(__file__).parent / "launcher.py"
_ANSWER_BYTES: Final = 65536

Answer = tuple[dict[str, Any], list[int]]


class Sandboxes:
    """All sandboxes; `start` before use, `close` ends every process in them.

    Attributes:
        isolated: whether pods have namespaces of their own; known once the first sandbox is made.
    """

    def __init__(self) -> None:
        self.isolated = False
        self._process: asyncio.subprocess.Process | None = None
        self._control: socket.socket | None = None
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._running: dict[int, Process] = {}
        self._outputs: WeakSet[FdTransport] = WeakSet()
        self._early: dict[int, int] = {}
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
        self._next = 0

    async def start(self) -> None:
        """Start the launcher."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._control = ours
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_LAUNCHER), stdin=theirs.fileno()
            )
        asyncio.get_running_loop().add_reader(ours.fileno(), self._receive)

    async def close(self) -> None:
        """End every process in every sandbox, and the launcher."""
        if self._control is None or self._process is None:
            return
        asyncio.get_running_loop().remove_reader(self._control.fileno())
        asyncio.get_running_loop().remove_writer(self._control.fileno())
        self._control.close()
        await self._process.wait()
        self._lost()
        for _, fds in self._unsent:
            for fd in fds:
                os.close(fd)
        # What nobody has read to its end.
        for output in list(self._outputs):
            output.close()

    def _lost(self) -> None:
        for future in self._waiting.values():
            future.cancel()
        for process in list(self._running.values()):
            process.exited(128 + signal.SIGKILL)
        self._running.clear()

    async def make(self, pod: str, root: Path, hostname: str, binds: dict[str, str]) -> None:
        """Make a pod's sandbox.

        Args:
            pod: a key of the caller's choice.
            root: its private directory, which exists.
            binds: host directories by where they are to be seen inside; without isolation they are not.
        """
        answer, _ = await self._ask(
            {"op": "pod", "pod": pod, "root": str(root), "hostname": hostname, "binds": binds}
        )
        self.isolated = answer["isolated"]

    def end(self, pod: str) -> None:
        """Kill everything in a pod's sandbox, and forget it."""
        self._send({"op": "end", "pod": pod}, [])

    async def run(
        self, pod: str, argv: list[str], env: dict[str, str], cwd: str, *, stdin: bool, tty: bool
    ) -> Process:
        """Run a command in a pod.

        Raises:
            CommandNotStarted: it cannot be executed, in the words of a container runtime.
        """
        stdio = Stdio(stdin=stdin, tty=tty)
        task = {"argv": argv, "env": env, "cwd": cwd, "tty": tty}
        memory = os.memfd_create("task")
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(json.dumps(task).encode("utf-8", "surrogateescape"))
            run, (answer, _) = await self._run({"op": "run", "pod": pod}, [memory, *stdio.child])
        except BaseException:
            stdio.close()
            raise
        finally:
            os.close(memory)
            stdio.close_child()
        if "error" in answer:
            stdio.close()
            raise CommandNotStarted(_words(argv[0] if argv else "", answer["errno"], cwd))
        process = await Process.open(stdio, lambda number: self._kill(run, number))
        self._running[run] = process
        self._outputs.update(process.outputs)
        if run in self._early:
            self._exited(run, self._early.pop(run))
        return process

    async def _run(self, message: dict[str, Any], fds: list[int]) -> tuple[int, Answer]:
        number = self._next + 1
        return number, await self._ask(message, fds)

    def _kill(self, run: int, number: int) -> None:
        if run in self._running:
            self._send({"op": "kill", "run": run, "signal": number}, [])

    async def dial(self, pod: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a TCP port inside a pod.

        Raises:
            OSError: nobody listens there.
        """
        answer, fds = await self._ask({"op": "dial", "pod": pod, "port": port})
        if "error" in answer:
            text = f"failed to connect to localhost:{port} inside namespace: {answer['error'].lower()}"
            raise OSError(answer["errno"], text)
        return await asyncio.open_connection(sock=socket.socket(fileno=fds[0]))

    async def _ask(self, message: dict[str, Any], fds: list[int] | None = None) -> Answer:
        self._next += 1
        number = self._next
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._send(message | {"id": number}, fds or [])
        return await future

    def _send(self, message: dict[str, Any], fds: list[int]) -> None:
        # The descriptors must live until they are sent, and the caller may close its own before that.
        self._unsent.append((json.dumps(message).encode(), [os.dup(fd) for fd in fds]))
        self._flush()

    def _flush(self) -> None:
        assert self._control is not None
        loop = asyncio.get_running_loop()
        loop.remove_writer(self._control.fileno())
        while self._unsent:
            data, fds = self._unsent[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                self._control.sendmsg([data], ancillary)
            except BlockingIOError:
                loop.add_writer(self._control.fileno(), self._flush)
                return
            except (BrokenPipeError, ConnectionResetError):
                self._lost()
            self._unsent.popleft()
            for fd in fds:
                os.close(fd)

    def _receive(self) -> None:
        assert self._control is not None
        try:
            data, fds, _, _ = socket.recv_fds(self._control, _ANSWER_BYTES, 1)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data, fds = b"", []
        if not data:
            asyncio.get_running_loop().remove_reader(self._control.fileno())
            self._lost()
            return
        for fd in fds:
            os.set_inheritable(fd, False)
        message = json.loads(data)
        if "exited" in message:
            self._exited(message["exited"], message["code"])
            return
        future = self._waiting.pop(message["id"], None)
        if future is not None and not future.done():
            future.set_result((message, fds))
        else:
            for fd in fds:
                os.close(fd)

    def _exited(self, run: int, code: int) -> None:
        process = self._running.pop(run, None)
        if process is None:
            # The command ended before its opener was resumed.
            self._early[run] = code
        else:
            process.exited(code)


def _words(command: str, code: int, cwd: str) -> str:
    """Return why a command cannot be executed as runc says it."""
    if code == errno.ENOENT and "/" not in command:
        return f'exec: "{command}": executable file not found in $PATH'
    text = os.strerror(code).lower()
    if code == errno.ENOENT:
        return f'exec: "{command}": stat {command}: {text}'
    if code == errno.EACCES:
        return f'exec: "{command}": {text}'
    return f"exec {re.sub(r'/+', '/', command)}: {text} (in {cwd})"
