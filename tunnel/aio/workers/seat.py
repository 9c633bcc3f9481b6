"""A worker's side: its seat, and the link by which the supervisor is heard."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tunnel.aio.workers.link import Answers, Link, Message, open_link
from tunnel.kit.failures import Failure, UsageError, sole

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker's process is started with.

    Attributes:
        number: which of the workers it is, from 0; a replacement gets the number of the dead.
        count: how many there are.
        end: its end of the pair of sockets.
    """

    number: int
    count: int
    end: socket.socket


@asynccontextmanager
async def attended(
    seat: Seat, stopping: asyncio.Event, answers: Answers, heard: Callable[[Message], None]
) -> AsyncIterator[Link]:
    """Do what the supervisor says while the block runs, and tell it why the block failed.

    Args:
        seat: of this process.
        stopping: set where this worker is to drain: the supervisor says so, or is gone.
        answers: what the supervisor can ask.
        heard: gets what else it says.

    Being told to end at once cancels the block.
    """
    main = asyncio.current_task()
    assert main is not None
    ending = asyncio.Event()

    def told(message: Message) -> None:
        match message.get("stop"):
            case "drain":
                stopping.set()
            case "now":
                main.cancel()
            case _:
                heard(message)

    def lost() -> None:
        if not (stopping.is_set() or ending.is_set()):
            _log.error("the process that started this worker is gone: draining")
            stopping.set()

    link = await open_link(seat.end, told, lost, answers)
    try:
        yield link
    except Exception as error:
        failure = sole(error)
        if isinstance(failure, Failure):
            link.send(failed=str(failure), usage=isinstance(failure, UsageError))
            raise failure from None
        raise
    finally:
        ending.set()
        link.close()


def share(limit: int, count: int) -> int:
    """Return one worker's part of a limit that holds for all together; rounded up, and 0 stays no limit."""
    return -(-limit // count)


def own_file(path: Path | None, number: int) -> Path | None:
    """Return what a worker puts in the place of a path that only one process can have."""
    return None if path is None else path.with_name(f"{path.name}.{number}")
