"""The process of hostile clients and agents, for `tests.bench.hostile_clients`.

    python -m tests.bench.attacks PORT FOLDER

A worker: `begin` starts an attack, `end` ends it and says how often it was carried out and answered by the stub.
"""

import asyncio
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from certs.contexts import agent_context
from tests.bench.installation import user_context
from tests.bench.worker import obey, run
from tests.integration.floods import FLOODS, GREETING
from tests.unit.core.session.pair import http2_frame
from tunnel.core.wire.control import SESSION_ALPN

HOSTILE: Final = "hostile"
"""The cluster whose agent is hostile."""

CROWD: Final = 500
AT_ONCE_SECONDS: Final = 0.01
PATIENT_SECONDS: Final = 1.0
"""Until one that the stub has closed connects again."""
GOAWAY: Final = 7


class Attacks:
    """See the module.

    Args:
        port: of the stub.
        folder: holds certificates.
    """

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._user = user_context(folder)
        ca = folder / "ca"
        pair = (ca / f"agent-{HOSTILE}.crt", ca / f"agent-{HOSTILE}.key")
        self._agent = agent_context(*pair, ca / "server-ca.crt", [SESSION_ALPN])
        self._tasks: list[asyncio.Task[None]] = []
        self._times = self._told = 0
        self._began = 0.0

    async def begin(self, attack: str) -> Mapping[str, object]:
        """Start an attack by its name."""
        self._times = self._told = 0
        self._began = time.perf_counter()
        crowds: dict[str, tuple[Callable[[], Awaitable[None]], float]] = {
            "500 slow clients": (self._slow, AT_ONCE_SECONDS),
            "500 idle handshakes": (self._idle, PATIENT_SECONDS),
            "500 that come again at once": (self._idle, AT_ONCE_SECONDS),
        }
        if attack in crowds:
            works = [crowds[attack]] * CROWD
        else:
            works = [(lambda: self._flood(FLOODS[attack]), AT_ONCE_SECONDS)]
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._again(*work)) for work in works]
        return {}

    async def end(self) -> Mapping[str, object]:
        """Stop it; say how often it was carried out in how many seconds, and how often the stub said that it is enough."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return {"times": self._times, "told": self._told, "seconds": time.perf_counter() - self._began}

    async def _again(self, work: Callable[[], Awaitable[None]], pause_seconds: float) -> None:
        while True:
            self._times += 1
            with suppress(OSError, EOFError):
                await work()
            await asyncio.sleep(pause_seconds)

    async def _connect(
        self, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = "localhost" if context else None
        return await asyncio.open_connection("localhost", self._port, ssl=context, server_hostname=name)

    async def _slow(self) -> None:
        """One byte of a head a second, until the stub ends it."""
        reader, writer = await self._connect(self._user)
        try:
            for byte in b"GET /api HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 600:
                writer.write(bytes([byte]))
                with suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(1), 1)
                    self._told += 1
                    return
        finally:
            writer.transport.abort()

    async def _idle(self) -> None:
        """A connection on which no handshake begins, until the stub ends it."""
        reader, writer = await self._connect(None)
        try:
            await reader.read()
            self._told += 1
        finally:
            writer.transport.abort()

    async def _flood(self, flood: bytes) -> None:
        """A session that floods the stub, until that ends it."""
        reader, writer = await self._connect(self._agent)
        try:
            writer.write(GREETING + flood)
            heard = await reader.read(1 << 16)
            while heard:
                last, heard = heard, await reader.read(1 << 16)
            self._told += _has_goaway(last)
        finally:
            writer.transport.abort()


def _has_goaway(data: bytes) -> bool:
    return http2_frame(GOAWAY, 0, bytes(8))[3:9] in data


async def main(port: str, folder: str) -> None:
    attacks = Attacks(int(port), Path(folder))
    await obey({"begin": attacks.begin, "end": attacks.end})


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
