"""An apiserver that answers the agent's own questions as a test says."""

from collections import deque
from dataclasses import dataclass
from typing import Any

from agent.upstream.question import Answer, NoAnswer, Take


@dataclass
class Scripted:
    """In place of `Apiserver`: answers each path from its own queue, whose last answer stays.

    Attributes:
        answers: by the path without its query; each a status, or bytes of a 200, or an error to raise.
        asked: every path with its query, in order.
        renews: whether there is a newer credential on a 401.
    """

    answers: dict[str, deque[Any]]
    asked: list[str]
    renews: bool = False
    renewed: int = 0

    @classmethod
    def of(cls, **answers: Any) -> "Scripted":
        """Answers by the last segment of the path."""
        return cls(
            {name: deque(each if isinstance(each, list) else [each]) for name, each in answers.items()}, []
        )

    async def get(self, path: bytes, take: Take, *, most_bytes: int, seconds: float) -> Answer:
        self.asked.append(path.decode())
        queue = self.answers[path.partition(b"?")[0].decode().rpartition("/")[2]]
        answer = queue.popleft() if len(queue) > 1 else queue[0]
        if isinstance(answer, NoAnswer):
            raise answer
        if isinstance(answer, bytes):
            take(answer)
            return Answer(200, 2.5)
        return Answer(answer, 2.5)

    async def renew_credential(self) -> bool:
        self.renewed += 1
        return self.renews
