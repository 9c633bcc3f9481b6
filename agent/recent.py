"""Which answers have left on a channel so lately that they may be lost when it breaks."""

from typing import Final

from tunnel.core.identifiers import RequestId

ARRIVED_SECONDS: Final = 15.0
"""Behind this long an answer has been acknowledged, or TCP_USER_TIMEOUT (12 s) has ended its connection."""

MOST: Final = 512
"""Answers remembered at least. On a path that died no more than 128 KiB wait in front of it, half of them in the kernel, before the channel is
used no further (`WRITE_HIGH_BYTES`, `TCP_NOTSENT_LOWAT`), and an apiserver's smallest answer has more than 256 bytes."""


class RecentAnswers:
    """The answers of one channel, in two parts: the older one is forgotten as a whole when the newer one has lasted long enough."""

    __slots__ = ("_newer", "_older", "_until")

    def __init__(self) -> None:
        self._older: list[RequestId] = []
        self._newer: list[RequestId] = []
        self._until = 0.0

    def add(self, request: RequestId, now: float) -> None:
        """An answer was written to its end at `now`, a monotonic time in seconds."""
        if now >= self._until or len(self._newer) >= MOST:
            self._turn(now)
        self._newer.append(request)

    def take(self, now: float) -> list[RequestId]:
        """Return what may not have arrived, oldest first, and forget it."""
        if now >= self._until:
            self._turn(now)
        found = self._older + self._newer
        self.clear()
        return found

    def clear(self) -> None:
        """Everything is known to have arrived."""
        self._older, self._newer = [], []

    def _turn(self, now: float) -> None:
        self._older = self._newer if now < self._until + ARRIVED_SECONDS else []
        self._newer = []
        self._until = now + ARRIVED_SECONDS
