"""A relay that adds a delay to whatever passes, as distance does: it limits nothing and loses nothing.

    python -m tests.bench.relay TARGET-PORT MILLISECONDS      prints its port

Each way takes half of the milliseconds, so that a round trip takes all of them.
"""

import asyncio
import sys
from collections import deque

from tests.bench.worker import run


class Half(asyncio.Protocol):
    """One side of a relayed connection.

    Args:
        delay: in seconds, for what leaves by this side.
    """

    transport: asyncio.Transport

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._loop = asyncio.get_running_loop()
        self._ready = False
        self.other: Half | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._ready = True
        self._send_due()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.send_later(data)

    def eof_received(self) -> bool:
        assert self.other is not None
        self.other.send_later(b"")
        return True

    def connection_lost(self, error: Exception | None) -> None:
        assert self.other is not None
        self.other.send_later(b"")

    def send_later(self, data: bytes) -> None:
        """Send `data` when its time has come; nothing stands for the end."""
        self._waiting.append((self._loop.time() + self._delay, data))
        if len(self._waiting) == 1 and self._ready:
            self._loop.call_later(self._delay, self._send_due)

    def _send_due(self) -> None:
        # One timer for the first in the queue: timers of the same instant may fire in any order.
        while self._waiting and self._waiting[0][0] <= self._loop.time():
            _, data = self._waiting.popleft()
            if data:
                self.transport.write(data)
            else:
                self.transport.close()
        if self._waiting:
            self._loop.call_at(self._waiting[0][0], self._send_due)


class Front(Half):
    """The side that was dialled; it dials the target.

    Args:
        port: of the target.
    """

    def __init__(self, port: int, delay: float, tasks: asyncio.TaskGroup) -> None:
        super().__init__(delay)
        self._port = port
        self._tasks = tasks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.other = Half(self._delay)
        self.other.other = self
        super().connection_made(transport)
        self._tasks.create_task(self._dial(self.other))

    async def _dial(self, other: Half) -> None:
        try:
            # The target hears of the connection when its first packet has crossed the distance.
            await asyncio.sleep(self._delay)
            await self._loop.create_connection(lambda: other, "127.0.0.1", self._port)
        except OSError:
            self.transport.abort()


async def main(port: str, milliseconds: str) -> None:
    delay = float(milliseconds) / 2000
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        server = await loop.create_server(
            lambda: Front(int(port), delay, tasks), "127.0.0.1", 0, backlog=1024
        )
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    run(main(*sys.argv[1:]))
