"""When memory is given back to the system."""

import asyncio
import sys
import threading
from dataclasses import dataclass, field

import pytest

from tests.unit.fakes import Clock
from tunnel.aio.memory import (
    EVERY_SECONDS,
    WORTH_BYTES,
    Trim,
    find_trim,
    keep_returning,
    resident_bytes,
)
from tunnel.core.limits import MIB


@dataclass
class Memory:
    """A process of some size.

    Attributes:
        trims: the threads that were told to give back.
    """

    resident: int | None = 50 * MIB
    trims: list[threading.Thread] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def size(self) -> int | None:
        return self.resident

    def find(self) -> Trim | None:
        return self._trim

    def _trim(self, pad: int) -> int:
        assert pad == 0
        self.trims.append(threading.current_thread())
        self._loop.call_soon_threadsafe(self.done.set)
        return 1


async def test_a_process_that_has_grown_gives_back_in_a_thread(clock: Clock) -> None:
    memory = Memory()
    async with asyncio.TaskGroup() as tasks:
        returning = tasks.create_task(keep_returning(memory.size, memory.find))
        await clock.advance(1)
        memory.resident = 50 * MIB + WORTH_BYTES
        await clock.advance(EVERY_SECONDS)
        await memory.done.wait()
        returning.cancel()
    assert len(memory.trims) == 1
    assert memory.trims[0] is not threading.main_thread()


async def test_a_process_that_has_hardly_grown_is_left_alone(clock: Clock) -> None:
    memory = Memory()
    async with asyncio.TaskGroup() as tasks:
        returning = tasks.create_task(keep_returning(memory.size, memory.find))
        await clock.advance(1)
        memory.resident = 50 * MIB + WORTH_BYTES - 1
        for _ in range(3):
            await clock.advance(EVERY_SECONDS)
        returning.cancel()
    assert memory.trims == []


async def test_where_the_system_does_not_tell_the_size_it_ends(clock: Clock) -> None:
    memory = Memory(resident=None)
    await keep_returning(memory.size, memory.find)


async def test_where_another_library_allocates_it_ends(clock: Clock) -> None:
    memory = Memory()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep_returning(memory.size, lambda: None))
        await clock.advance(1)
        memory.resident = 500 * MIB
        await clock.advance(EVERY_SECONDS)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
def test_what_was_freed_is_given_back() -> None:
    trim = find_trim()
    if trim is None:
        pytest.skip("the C library has no malloc_trim")
    pieces = [bytes(1000 + each % 5000) for each in range(20_000)]
    pins = pieces[::50]  # so that the top of the heap stays where it is
    del pieces
    before = resident_bytes()
    trim(0)
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert before - after > 20 * MIB
    assert pins
