"""A mixed load at a given pace, to see whether the cost model predicts what it costs (tests/bench/model.py)."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from tests.bench.users import LIST, STREAMS, User, Users

TICK_SECONDS: Final = 0.01
BLOCK: Final = bytes(65536)
ENDLESS: Final = 10**13
"""Bytes of an upload that the end of the measurement breaks off."""


class Mixed:
    """Requests, new connections, a download and an upload at once.

    Args:
        users: ask.
        seconds: how long.
    """

    def __init__(self, users: Users, seconds: float) -> None:
        self._users = users
        self._end = time.perf_counter() + seconds
        self.requests = self.connections = self.received = self.sent = 0

    async def repeat(self, per_second: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `work` at a steady pace, whether or not the one before is done; at most at that pace where it lags."""
        due = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            while per_second and due < self._end:
                tasks.create_task(work())
                due += 1 / per_second
                await asyncio.sleep(max(due - time.perf_counter(), 0))

    async def ask(self, idle: list[User]) -> None:
        """Ask on a connection that is free, or on another one."""
        user = idle.pop() if idle else await self._users.connect()
        await user.ask(self._users.path(LIST))
        self.requests += 1
        idle.append(user)

    async def ask_anew(self) -> None:
        """Ask on a connection for this alone."""
        user = await self._users.connect()
        await user.ask(self._users.path(LIST))
        self.requests += 1
        self.connections += 1
        user.transport.close()

    async def download(self, bytes_per_second: float) -> None:
        """Read at that pace."""
        if not bytes_per_second:
            return
        user = await self._users.connect()
        await user.begin(self._users.path(STREAMS["bulk"]))
        began, first = time.perf_counter(), user.received
        while (now := time.perf_counter()) < self._end:
            ahead = user.received - first > bytes_per_second * (now - began)
            user.transport.pause_reading() if ahead else user.transport.resume_reading()
            await asyncio.sleep(TICK_SECONDS)
        self.received = user.received - first
        user.transport.abort()

    async def upload(self, bytes_per_second: float) -> None:
        """Write at that pace."""
        if not bytes_per_second:
            return
        user = await self._users.connect()
        user.begin_upload(ENDLESS).cancel()  # nobody waits for the answer
        began = time.perf_counter()
        while (now := time.perf_counter()) < self._end:
            while self.sent < bytes_per_second * (now - began) and user.writable:
                user.transport.write(BLOCK)
                self.sent += len(BLOCK)
            await asyncio.sleep(TICK_SECONDS)
        user.transport.abort()


async def mixed(
    users: Users, seconds: float, requests: float, connections: float, down: float, up: float
) -> Mapping[str, object]:
    """Keep a mixed load up and return what was really done.

    Args:
        seconds: how long.
        requests, connections: a second; those on new connections count as requests too.
        down, up: MB a second.
    """
    load = Mixed(users, seconds)
    idle: list[User] = []
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(load.repeat(max(requests - connections, 0), lambda: load.ask(idle)))
        tasks.create_task(load.repeat(connections, load.ask_anew))
        tasks.create_task(load.download(down * 1e6))
        tasks.create_task(load.upload(up * 1e6))
    took = time.perf_counter() - began
    for user in idle:
        user.transport.close()
    return {
        "seconds": took,
        "requests": load.requests / took,
        "connections": load.connections / took,
        "down": load.received / 1e6 / took,
        "up": load.sent / 1e6 / took,
    }
