"""Many uploads at once: all of them half done, then finished."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from tests.bench.users import CONNECTING, User, Users

BLOCK: Final = bytes(65536)


class Uploads:
    """What users can be told to do about uploads.

    Args:
        users: upload.
    """

    def __init__(self, users: Users) -> None:
        self._users = users
        self._open: list[tuple[User, asyncio.Future[int]]] = []
        self._half = 0

    async def begin_uploads(self, count: int, kib: int) -> Mapping[str, object]:
        """Begin so many uploads of that size, and send the first half of each."""
        self._half = kib * 1024 // 2
        limit = asyncio.Semaphore(CONNECTING)
        began = time.perf_counter()

        async def one() -> None:
            async with limit:
                user = await self._users.connect()
                answered = user.begin_upload(2 * self._half)
                self._open.append((user, answered))
                await user.write_all(self._half, BLOCK)

        await asyncio.gather(*(one() for _ in range(count)))
        return {"opened": count, "seconds": time.perf_counter() - began}

    async def finish_uploads(self) -> Mapping[str, object]:
        """Send the rest of all and wait for the answers."""
        began = time.perf_counter()

        async def one(user: User, answered: "asyncio.Future[int]") -> None:
            await user.write_all(self._half, BLOCK)
            if (status := await answered) != 200:
                raise ValueError(f"status {status}")
            user.transport.close()

        await asyncio.gather(*(one(*each) for each in self._open))
        finished, self._open = len(self._open), []
        return {"bytes": finished * self._half, "seconds": time.perf_counter() - began}
