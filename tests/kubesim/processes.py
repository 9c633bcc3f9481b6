"""A running command's standard streams, as pipes or a terminal, on the event loop."""

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios
from collections.abc import Callable
from typing import Any, Final

_READ_BYTES: Final = 64 * 1024
_END_OF_INPUT: Final = b"\x04"


class Stdio:
    """The descriptors of a command that is about to start: the child's three, and ours.

    Attributes:
        child: stdin, stdout and stderr of the command.
        stdin: our end of its stdin, None where it has none.
        outputs: our ends of stdout and stderr; with a terminal, its master alone.
    """

    def __init__(self, *, stdin: bool, tty: bool) -> None:
        self.tty = tty
        self.stdin: int | None = None
        if tty:
            master, slave = os.openpty()
            self.child = [slave, os.dup(slave), os.dup(slave)]
            self.outputs = [master]
            self.stdin = os.dup(master) if stdin else None
            return
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        if stdin:
            source, self.stdin = os.pipe()
        else:
            source = os.open(os.devnull, os.O_RDONLY)
        self.child = [source, out_write, err_write]
        self.outputs = [out_read, err_read]

    def close_child(self) -> None:
        """Close the command's descriptors here, once it has them."""
        for fd in self.child:
            os.close(fd)
        self.child = []

    def close(self) -> None:
        """Close ours: the command did not start."""
        for fd in (*self.outputs, *([] if self.stdin is None else [self.stdin])):
            os.close(fd)
        self.outputs, self.stdin = [], None


class FdTransport(asyncio.ReadTransport):
    """Reads a descriptor into a StreamReader, and stops where that is full.

    The loops' own pipe transports report a terminal whose other side is closed (EIO) as a failure; here it is the end.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, reader: asyncio.StreamReader) -> None:
        super().__init__()
        os.set_blocking(fd, False)
        self._loop, self._fd, self._reader = loop, fd, reader
        self._closing = self._paused = False
        reader.set_transport(self)
        loop.add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                self._reader.set_exception(error)
            data = b""
        if data:
            self._reader.feed_data(data)
            return
        self._reader.feed_eof()
        self.close()

    def pause_reading(self) -> None:
        if not self._closing and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)

    def resume_reading(self) -> None:
        if not self._closing and self._paused:
            self._paused = False
            self._loop.add_reader(self._fd, self._read)

    def is_reading(self) -> bool:
        return not self._closing and not self._paused

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class TerminalInput(asyncio.StreamWriter):
    """A terminal's input: closing it is Ctrl-D, the terminal itself stays open."""

    def close(self) -> None:
        if not self.transport.is_closing():
            self.write(_END_OF_INPUT)
            super().close()


class Process:
    """A command that runs in a sandbox; `RunningProcess` of the seam.

    Attributes:
        outputs: our ends of its stdout and stderr.
    """

    def __init__(self, stdio: Stdio, kill: Callable[[int], None]) -> None:
        loop = asyncio.get_running_loop()
        self.stdin: asyncio.StreamWriter | None = None
        self._kill = kill
        self._terminal = os.dup(stdio.outputs[0]) if stdio.tty else None
        readers = [asyncio.StreamReader() for _ in stdio.outputs]
        self.outputs = [FdTransport(loop, fd, r) for fd, r in zip(stdio.outputs, readers, strict=True)]
        self.stdout = readers[0]
        self.stderr = None if stdio.tty else readers[1]
        self._code: asyncio.Future[int] = loop.create_future()

    @classmethod
    async def open(cls, stdio: Stdio, kill: Callable[[int], None]) -> "Process":
        """Return the process behind these descriptors; it owns them from now on."""
        process = cls(stdio, kill)
        if stdio.stdin is not None:
            process.stdin = await _writer(stdio.stdin, stdio.tty)
        return process

    def resize(self, width: int, height: int) -> None:
        """Set the terminal's size; the kernel tells its foreground process (SIGWINCH)."""
        if self._terminal is not None:
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def wait(self) -> int:
        """Return the exit code, once it has ended."""
        return await asyncio.shield(self._code)

    def signal(self, number: int) -> None:
        """Send a signal to the command's process group; nothing happens once it has ended."""
        if not self._code.done():
            self._kill(number)

    def kill(self) -> None:
        """End it now, and stop reading what it left behind."""
        self.signal(signal.SIGKILL)
        for transport in self.outputs:
            transport.close()
        self._drop_stdin()
        self._close_terminal()

    def exited(self, code: int) -> None:
        """Note its end; called by the owner of the sandbox."""
        if not self._code.done():
            self._code.set_result(code)
        self._drop_stdin()
        self._close_terminal()

    def _drop_stdin(self) -> None:
        # A second abort of a pipe's transport is an error in asyncio.
        if self.stdin is not None and not self.stdin.transport.is_closing():
            self.stdin.transport.abort()

    def _close_terminal(self) -> None:
        if self._terminal is not None:
            os.close(self._terminal)
            self._terminal = None


async def _writer(fd: int, tty: bool) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    os.set_blocking(fd, False)
    file = os.fdopen(fd, "wb", buffering=0)
    transport, protocol = await loop.connect_write_pipe(_InputProtocol, file)
    kind = TerminalInput if tty else asyncio.StreamWriter
    return kind(transport, protocol, None, loop)


class _InputProtocol(asyncio.streams.FlowControlMixin):
    """What a StreamWriter needs to wait on; a command that closes its input early is no error here."""

    def __init__(self) -> None:
        super().__init__()
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        with contextlib.suppress(asyncio.InvalidStateError):
            self._closed.set_result(None)

    def _get_close_waiter(self, stream: asyncio.StreamWriter) -> "asyncio.Future[None]":
        return self._closed
