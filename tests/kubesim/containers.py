"""The seam between the API and what runs behind it: a container is a real process.

Streaming code (exec, attach, port-forward) is written against `ContainerBackend` and knows nothing of how a
process is started. Whoever implements it decides about file systems, networks and images.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodName:
    """A pod by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class ContainerRefusal(Exception):
    """The request cannot be served; becomes a Status instead of a 101.

    Args:
        code: HTTP status, 400 to 599.
        reason: the Status's reason, such as `NotFound` or `BadRequest`.
        message: what is wrong, in the apiserver's words.
    """

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


class CommandNotStarted(Exception):
    """The command could not be executed in the container (behind the 101: a Status on the error stream).

    Its text is the runtime's, such as `exec: "nope": executable file not found in $PATH`.
    """


class StandardInput(Protocol):
    """What a process reads."""

    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def close(self) -> None: ...


class RunningProcess(Protocol):
    """A command that runs in a container, or the attachment to the container's main process."""

    @property
    def stdin(self) -> StandardInput | None:
        """None where stdin was not asked for. Closing it is the process's end of file (with a terminal: Ctrl-D); for an attachment
        only where the container has `stdinOnce` and no terminal, else it detaches."""

    stdout: asyncio.StreamReader
    """Ends when the process (and whoever inherited its output) closed it. With a terminal: both outputs."""

    stderr: asyncio.StreamReader | None
    """None with a terminal."""

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size, in characters; nothing happens without one."""

    async def wait(self) -> int:
        """Return the exit code: 0 to 255, 128 plus the signal's number where a signal ended it."""

    def kill(self) -> None:
        """End it now if it still runs. For an attachment: detach, the container goes on. Idempotent.

        Streaming code calls it once the client is gone, whatever the reason."""


class ContainerBackend(Protocol):
    """All running containers of the cluster."""

    def container_of(self, pod: PodName, container: str | None) -> str:
        """Return the container meant by `container`, or the pod's default one for None; call it before the 101.

        Raises:
            ContainerRefusal: no such pod or container (404, 400), or it is not running.
        """

    async def exec(
        self, pod: PodName, container: str, command: list[str], *, stdin: bool, tty: bool
    ) -> RunningProcess:
        """Run `command` in the container.

        Raises:
            CommandNotStarted: there is no such executable, or it may not be run.
            ContainerRefusal: the container went away.
        """

    async def attach(self, pod: PodName, container: str, *, stdin: bool, tty: bool) -> RunningProcess:
        """Attach to the container's main process: its output from now on and, where its spec says `stdin: true`,
        its input. Several may be attached at once.

        Raises:
            ContainerRefusal: the container went away.
        """

    async def dial(self, pod: PodName, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a TCP port of the pod, as port-forward does.

        Raises:
            OSError: nobody listens there.
            ContainerRefusal: there is no such pod, or it is not running.
        """
