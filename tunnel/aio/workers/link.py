"""What a supervisor and a worker say to each other: JSON lines over a pair of sockets.

The pair ends when either process does, however it does: that is how one learns of the other's death.
"""

import asyncio
import itertools
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

Message = Mapping[str, Any]

Answers = Mapping[str, Callable[[], object]]
"""What this end can be asked, and what gives the answer, which must be fit for JSON."""

ANSWER_SECONDS: Final = 5.0
"""A worker answers within a turn of its loop, of milliseconds."""


class Unanswered(Exception):
    """The other end did not answer in time, or is gone."""


class Link(asyncio.Protocol):
    """One end of the pair; made by `open_link`.

    Args:
        heard: gets each message that is neither a question nor an answer.
        lost: called once, when the other end is gone.
        answers: what this end can be asked.
    """

    transport: asyncio.Transport

    def __init__(
        self, heard: Callable[[Message], None], lost: Callable[[], None], answers: Answers | None = None
    ) -> None:
        self._heard = heard
        self._lost = lost
        self._answers = answers or {}
        self._received = b""
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Any]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def connection_lost(self, error: Exception | None) -> None:
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(Unanswered("the process is gone"))
        self._lost()

    def _take(self, message: Message) -> None:
        if "ask" in message:
            self.send(answer=message["number"], content=self._answers[message["ask"]]())
        elif "answer" in message:
            asked = self._asked.get(message["answer"])
            if asked is not None and not asked.done():
                asked.set_result(message["content"])
        else:
            self._heard(message)

    def send(self, **message: object) -> None:
        """Say something; where the other end is gone, it is for nobody."""
        if not self.transport.is_closing():
            self.transport.write(json.dumps(message).encode() + b"\n")

    async def ask(self, question: str, seconds: float = ANSWER_SECONDS) -> Any:
        """Return what the other end answers.

        Raises:
            Unanswered: it did not, within `seconds`.
        """
        number = next(self._numbers)
        asked = self._asked[number] = asyncio.get_running_loop().create_future()
        self.send(ask=question, number=number)
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except TimeoutError:
            raise Unanswered(f"no answer within {seconds:g} s") from None
        finally:
            del self._asked[number]

    def close(self) -> None:
        """Let the other end know that there is nothing more to say, behind what was said."""
        self.transport.close()


async def open_link(
    end: socket.socket,
    heard: Callable[[Message], None],
    lost: Callable[[], None],
    answers: Answers | None = None,
) -> Link:
    """Return this end of the pair, on the running loop; see `Link`."""
    loop = asyncio.get_running_loop()
    _, link = await loop.create_unix_connection(lambda: Link(heard, lost, answers), sock=end)
    return link
