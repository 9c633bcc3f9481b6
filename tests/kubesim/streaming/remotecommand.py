"""exec and attach, whatever carries them: a process's ends joined to five channels, and the order in which they close.

The order is what keeps the exit code: output to its end, then the exit status, then the end of the error channel, then
the connection.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from tests.kubesim.containers import (
    CommandNotStarted,
    ContainerBackend,
    ContainerRefusal,
    RunningProcess,
    StandardInput,
)
from tests.kubesim.streaming.connection import StreamReset
from tests.kubesim.streaming.faults import StreamingFaults
from tests.kubesim.streaming.request import CommandOptions, StreamTarget
from tests.kubesim.streaming.status import Outcome, not_started

PUMP_BYTES = 64 * 1024
RESIZE_BYTES = 4096
"""The longest resize message; kubectl's have 25."""


class Source(Protocol):
    """Where the client's bytes come from."""

    async def read(self) -> bytes:
        """Return what arrived, or wait; empty at the end."""

    def discard(self) -> None:
        """Throw away what comes from now on."""


class Sink(Protocol):
    """Where bytes for the client go."""

    async def write(self, data: bytes) -> None:
        """Send `data`, waiting while much is queued.

        Raises:
            StreamReset: the client does not want any, or is gone.
        """

    def end(self) -> None:
        """Say that nothing more comes."""


@dataclass(frozen=True, slots=True)
class CommandChannels:
    """The channels of one exec or attach; None where the client did not ask for one.

    Attributes:
        describe: how this protocol version words an outcome on the error channel.
    """

    stdin: Source | None
    stdout: Sink | None
    stderr: Sink | None
    resize: Source | None
    error: Sink
    describe: Callable[[Outcome], str]


async def start(
    backend: ContainerBackend, target: StreamTarget, container: str, options: CommandOptions
) -> RunningProcess:
    """Run the command, or attach.

    Raises:
        CommandNotStarted: the command cannot be run.
        ContainerRefusal: the container went away behind the 101.
    """
    if target.subresource == "attach":
        return await backend.attach(target.pod, container, stdin=options.stdin, tty=options.tty)
    if not options.command:
        raise CommandNotStarted("args must not be empty")
    return await backend.exec(target.pod, container, options.command, stdin=options.stdin, tty=options.tty)


async def serve_command(
    channels: CommandChannels,
    backend: ContainerBackend,
    target: StreamTarget,
    container: str,
    options: CommandOptions,
    faults: StreamingFaults,
) -> None:
    """Run an exec or attach to its end and tell the client how it ended.

    Cancelling it (the client is gone) kills the command, or detaches."""
    try:
        process = await start(backend, target, container, options)
    except CommandNotStarted as error:
        outcome = not_started(options.command, str(error))
    except ContainerRefusal as refusal:
        outcome = Outcome(failure=f"error {_doing(target)} container: {refusal.message}")
    else:
        try:
            code = await _join(process, channels, faults)
        finally:
            process.kill()
        # An attachment's end says nothing about the container's exit code; kubectl asks the pod's status for it.
        outcome = Outcome(tuple(options.command), 0 if target.subresource == "attach" else code)
    await asyncio.sleep(faults.status_delay)
    await _tell(channels, outcome)


def _doing(target: StreamTarget) -> str:
    return "attaching to" if target.subresource == "attach" else "executing command in"


async def _join(process: RunningProcess, channels: CommandChannels, faults: StreamingFaults) -> int:
    budget = OutputBudget(faults.cut_after_bytes)
    async with asyncio.TaskGroup() as inputs:
        feeding = [
            inputs.create_task(_feed(channels.stdin, process.stdin)),
            inputs.create_task(_resize(channels.resize, process)),
        ]
        async with asyncio.TaskGroup() as outputs:
            outputs.create_task(_pump(process.stdout, channels.stdout, budget))
            if process.stderr is not None:
                outputs.create_task(_pump(process.stderr, channels.stderr, budget))
        code = await process.wait()
        for task in feeding:
            task.cancel()
    return code


class CutShort(Exception):
    """The fault that drops the connection is due."""


class OutputBudget:
    """How much output may be sent before the connection is dropped; None for all of it."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit

    def spend(self, count: int) -> None:
        """Count output that was sent.

        Raises:
            CutShort: that was the last of it.
        """
        if self._left is not None:
            self._left -= count
            if self._left <= 0:
                raise CutShort


async def _pump(output: asyncio.StreamReader, sink: Sink | None, budget: OutputBudget) -> None:
    while data := await output.read(PUMP_BYTES):
        if sink is None:
            continue
        try:
            await sink.write(data)
        except StreamReset:
            # The client reset one stream or is gone; the process must not block on output nobody takes.
            sink = None
        else:
            budget.spend(len(data))
    if sink is not None:
        sink.end()


async def _feed(source: Source | None, stdin: StandardInput | None) -> None:
    if source is None:
        return
    if stdin is None:
        source.discard()
        return
    with suppress(ConnectionError):
        while data := await source.read():
            stdin.write(data)
            await stdin.drain()
    # A process that closed its input still gets to finish; the client's bytes must not fill the connection meanwhile.
    source.discard()
    stdin.close()


async def _resize(source: Source | None, process: RunningProcess) -> None:
    if source is None:
        return
    text = ""
    while len(text) <= RESIZE_BYTES and (data := await source.read()):
        text = _apply_all(text + data.decode("utf-8", "replace"), process)
    source.discard()


def _apply_all(text: str, process: RunningProcess) -> str:
    """Apply the sizes in `text`, which follow each other without a separator; return what is not complete yet."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        try:
            size, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            break
        _apply(size, process)
        text = text[end:]
    return text


def _apply(size: object, process: RunningProcess) -> None:
    match size:
        case {"Width": int(width), "Height": int(height)} if 0 < width < 65536 and 0 < height < 65536:
            # The terminal goes with its process, perhaps just now.
            with suppress(OSError):
                process.resize(width, height)


async def _tell(channels: CommandChannels, outcome: Outcome) -> None:
    text = channels.describe(outcome)
    with suppress(StreamReset):
        if text:
            await channels.error.write(text.encode())
    channels.error.end()
