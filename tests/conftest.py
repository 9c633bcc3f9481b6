"""For every test: the event loops it runs on, and a check that it left nothing open."""

import asyncio
import gc
import inspect
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

TESTS = Path(__file__).parent
ASYNCIO: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop}


class LeavableLoop(uvloop.Loop):
    """uvloop's `close` can hang on a loop that still has connections, and the test that left them would not be named."""

    left_open = False

    def close(self) -> None:
        if not self.left_open:
            super().close()


UVLOOP: dict[str, LoopFactory] = {"uvloop": LeavableLoop}
LOOPS: dict[str, Mapping[str, LoopFactory]] = {
    "unit": ASYNCIO,
    "integration": ASYNCIO | UVLOOP,
}
"""By folder; the others run on uvloop, as the command does."""

SETTLE_SECONDS = 2.0
"""Closing takes turns of the loop, and a FIN its way through the kernel."""

WATCHED = ("socket:", "pipe:", "anon_inode:")


def pytest_configure() -> None:
    """Let libuv open the pipe that it keeps for the signals of the whole process."""
    uvloop.Loop().close()


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, LoopFactory]:
    folder = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
    return LOOPS.get(folder, UVLOOP)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the checks in front of a test's own fixtures, so that they end behind them: that on tasks before the loop is closed,
    that on descriptors behind it, as a loop that does not run closes nothing.
    """
    for item in items:
        if isinstance(item, pytest.Function):
            checks = ["no_descriptor_is_left"]
            if inspect.iscoroutinefunction(item.function):
                checks.append("no_task_is_left")
            shared, own = _by_scope(item, [name for name in item.fixturenames if name not in checks])
            item.fixturenames[:] = shared + checks + own


def _by_scope(item: pytest.Function, names: list[str]) -> tuple[list[str], list[str]]:
    """Divide fixtures into those that outlive the test and its own."""
    known = item._fixtureinfo.name2fixturedefs
    shared = [name for name in names if name in known and known[name][-1].scope != "function"]
    return shared, [name for name in names if name not in shared]


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a TCP socket; a loop that is closed may take both with it unseen."""
    before = tcp_sockets()
    own = asyncio.current_task()
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    while left := _left_in_loop(before, own):
        if time.monotonic() > deadline:
            loop = asyncio.get_running_loop()
            if isinstance(loop, LeavableLoop):
                loop.left_open = True
            pytest.fail("left behind: " + "; ".join(left))
        gc.collect()
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    """Fail a test that leaves a socket, a pipe or an event loop open."""
    before = open_descriptors()
    yield
    deadline = time.monotonic() + SETTLE_SECONDS
    while left := _new_descriptors(before):
        if time.monotonic() > deadline:
            pytest.fail("left open: " + ", ".join(left))
        gc.collect()
        time.sleep(0.005)


def open_descriptors() -> dict[int, str]:
    """Return this process's sockets, pipes and anonymous inodes, by descriptor; empty where there is no /proc."""
    found: dict[int, str] = {}
    folder = Path("/proc/self/fd")
    for name in os.listdir(folder) if folder.exists() else ():
        try:
            target = os.readlink(folder / name)
        except FileNotFoundError:
            continue  # the descriptor that listed the folder
        if target.startswith(WATCHED):
            found[int(name)] = target
    return found


def _new_descriptors(before: dict[int, str]) -> list[str]:
    after = open_descriptors()
    return [f"{number} {target}" for number, target in after.items() if before.get(number) != target]


def tcp_sockets() -> set[str]:
    """Return this process's TCP and UDP sockets; not the pairs of AF_UNIX sockets that uvloop makes for each run."""
    found = set()
    for number, target in open_descriptors().items():
        if target.startswith("socket:"):
            with socket.socket(fileno=os.dup(number)) as copy:
                if copy.family != socket.AF_UNIX:
                    found.add(f"{number} {target}")
    return found


def _left_in_loop(before: set[str], own: "asyncio.Task[object] | None") -> list[str]:
    tasks = asyncio.all_tasks() - {own, asyncio.current_task()}
    named = [f"task {task.get_name()} {task.get_coro()!r}" for task in tasks]
    return named + [f"socket {left}" for left in sorted(tcp_sockets() - before)]
