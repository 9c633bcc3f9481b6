"""Child processes whose lines are kept with the moment they came."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Line:
    """One line a process wrote; `at` is `time.monotonic()` when it was read."""

    at: float
    text: str


class Running:
    """A started child process.

    Its standard output and standard error are read as they come, so that it never blocks on a full pipe. Close it with
    `stop`, or start it by `running`.
    """

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            self.arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self.output: list[Line] = []
        self.errors: list[Line] = []
        self._changed = threading.Condition()
        self._open_pipes = 2
        self._readers = [
            self._read(self.process.stdout, self.output),
            self._read(self.process.stderr, self.errors),
        ]

    def _read(self, pipe: IO[bytes] | None, into: list[Line]) -> threading.Thread:
        assert pipe is not None
        thread = threading.Thread(target=self._collect, args=(pipe, into), daemon=True)
        thread.start()
        return thread

    def _collect(self, pipe: IO[bytes], into: list[Line]) -> None:
        with pipe:
            for raw in pipe:
                line = Line(time.monotonic(), raw.decode(errors="replace").rstrip("\r\n"))
                with self._changed:
                    into.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._open_pipes -= 1
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def stdout(self) -> str:
        return "".join(f"{line.text}\n" for line in self.output)

    @property
    def stderr(self) -> str:
        return "".join(f"{line.text}\n" for line in self.errors)

    def wait_for(self, matches: Callable[[str], bool], *, seconds: float = 20, count: int = 1) -> list[Line]:
        """Wait until `count` lines of either stream match, and return them in the order of the streams.

        Raises AssertionError with everything the process said when it ended or the time passed first.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                found = [line for line in (*self.output, *self.errors) if matches(line.text)]
                if len(found) >= count:
                    return found
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._open_pipes:
                    raise AssertionError(f"{len(found)} of {count} awaited lines came\n{self.described()}")
                self._changed.wait(remaining)

    def wait_for_text(self, text: str, *, seconds: float = 20) -> Line:
        """Wait for a line that contains the text; see `wait_for`."""
        return self.wait_for(lambda line: text in line, seconds=seconds)[0]

    def write(self, data: bytes) -> None:
        """Write to its standard input at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end_input(self) -> None:
        """Close its standard input; a process that has gone already is no error."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def wait(self, seconds: float = 20) -> int:
        """Wait until it ended and all its output was read; return the exit status.

        Raises AssertionError with everything it said when it still runs after the time.
        """
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds} s\n{self.described()}") from None
        for reader in self._readers:
            reader.join(5)
        return code

    def stop(self, number: int = signal.SIGTERM, *, seconds: float = 10) -> int:
        """Signal it and `finish` it."""
        self.process.send_signal(number)
        return self.finish(seconds)

    def finish(self, seconds: float = 10) -> int:
        """Wait until it ends, kill its whole process group when it does not in time, and return the exit status."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait(5)
        self.end_input()
        for reader in self._readers:
            reader.join(5)
        return code

    def described(self) -> str:
        """The command, its exit status and what it said, for a failure message."""
        state = "running" if self.process.poll() is None else f"exit status {self.process.returncode}"
        command = " ".join(self.arguments)[:2000]
        return f"$ {command}\n({state})\nstdout:\n{self.stdout[-4000:]}\nstderr:\n{self.stderr[-8000:]}"


@contextlib.contextmanager
def running(
    arguments: Sequence[str | Path], environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """A child process for as long as the block lasts."""
    process = Running(arguments, environment)
    try:
        yield process
    finally:
        process.stop()
