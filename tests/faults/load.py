"""Users: so many requests a second whatever becomes of them, each answer checked byte for byte.

They try again only as client-go does: where a 429 or a status from 500 comes with a whole number of seconds in Retry-After, after
these, ten times at most. What fails otherwise has failed, be it a connection that is refused or one that breaks.
"""

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.faults import content
from tests.faults.beside import beside
from tests.faults.http import Answer, Broken, Connection

RETRIES: Final = 10
ANSWER_SECONDS: Final = 60.0
"""A request that is not answered by then has failed."""

IDLE_CONNECTIONS: Final = 25
"""That client-go keeps for a host."""

SMALL_BYTES: Final = 2_000
LARGE_BYTES: Final = 300_000
UPLOAD_BYTES: Final = 200_000
"""More than is sent within the request's frame: it takes a stream of its own."""


class Client:
    """A user of one address, with a pool of connections.

    Args:
        port: where it connects, as known at each moment.
        context: with its certificate.
    """

    def __init__(self, port: Callable[[], int], context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._idle: list[Connection] = []
        self._generation = 0
        self._asking: Counter[int] = Counter()
        self._asked = asyncio.Event()

    async def ask(self, method: str, target: str, body: bytes = b"") -> tuple[Answer, int]:
        """Return the final answer, and how often it was asked for.

        Raises:
            Broken, OSError: a try failed in a way that client-go does not try again.
        """
        for attempt in range(1, RETRIES + 2):
            answer = await self.ask_once(method, target, body)
            wait = answer.fields.get("retry-after", "")
            if attempt > RETRIES or not wait.isdigit() or not (answer.status == 429 or answer.status >= 500):
                break
            await asyncio.sleep(int(wait))
        return answer, attempt

    async def ask_once(self, method: str, target: str, body: bytes = b"") -> Answer:
        """Send a request on an idle connection or a new one. Raises Broken, OSError."""
        generation = self._generation
        self._asking[generation] += 1
        try:
            return await self._ask_once(generation, method, target, body)
        finally:
            self._asking[generation] -= 1
            self._asked.set()

    async def _ask_once(self, generation: int, method: str, target: str, body: bytes) -> Answer:
        connection = await self._take()
        try:
            answer = await connection.ask(method, target, body=body)
        except BaseException:
            connection.close()
            raise
        keep = generation == self._generation and len(self._idle) < IDLE_CONNECTIONS
        if connection.idle and keep:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    async def _take(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.idle:
                return connection
            connection.close()
        return await self.connect()

    async def connect(self) -> Connection:
        """Open a connection outside the pool. Raises OSError."""
        return await Connection.open(self._port(), self._context)

    async def renew(self) -> None:
        """Use no connection of before any more, and return when all is answered that was asked on one."""
        former, self._generation = self._generation, self._generation + 1
        self.close()
        while self._asking[former]:
            self._asked.clear()
            await self._asked.wait()

    def close(self) -> None:
        """Close what is idle."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that a user makes, and the answer that is right.

    Attributes:
        name: of the object that a POST creates; empty otherwise.
        body: that is sent.
    """

    method: str
    target: str
    status: int
    expected: bytes
    name: str = ""
    body: bytes = b""


def get(name: str, size: int = SMALL_BYTES, delay_milliseconds: int = 0) -> Wish:
    """Return the wish to read an object."""
    target = content.object_target(name, size, delay_milliseconds)
    return Wish("GET", target, 200, content.body_of(target, size))


def post(name: str, size: int = SMALL_BYTES, delay_milliseconds: int = 0) -> Wish:
    """Return the wish to create an object; each has its own name."""
    body = content.new_object(name, size)
    target = content.collection_target(name, delay_milliseconds)
    return Wish("POST", target, 201, content.created(body), name, body)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a wish, of which only the first three are kept: bodies are large, and a soak is long.

    Attributes:
        name: of the object that was to be created; empty for a GET.
        began, ended: on the loop's clock.
        attempts: how often it was asked.
        status: the last one; 0 where there was none.
        problem: empty where the answer was right.
        wrong: whether the answer was neither right nor visibly a failure.
    """

    method: str
    target: str
    name: str
    began: float
    ended: float
    attempts: int = 1
    status: int = 0
    problem: str = ""
    wrong: bool = False


@dataclass
class Book:
    """The outcomes of a load."""

    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> list[Outcome]:
        """Those that were not answered rightly in the end."""
        return [outcome for outcome in self.outcomes if outcome.problem]

    @property
    def retried(self) -> int:
        """How many were asked more than once."""
        return sum(outcome.attempts > 1 for outcome in self.outcomes)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest one took."""
        return max((outcome.ended - outcome.began for outcome in self.outcomes), default=0.0)

    def miscounted(self, created: Counter[str]) -> list[str]:
        """Return the POSTs that were created another number of times than their users can think: a failed one may have been
        created or not, but not twice."""
        found = []
        for outcome in self.outcomes:
            name = outcome.name
            allowed = {0, 1} if outcome.problem else {1}
            if name and created[name] not in allowed:
                found.append(f"{name}: created {created[name]} times; {outcome.problem or outcome.status}")
        return found

    def described(self) -> str:
        """Return what failed, for a failure message."""
        kinds = Counter(f"{outcome.method}: {outcome.problem}" for outcome in self.failed)
        lines = [f"{count} x {kind}" for kind, count in kinds.most_common(20)]
        return "\n".join([f"{len(self.failed)} of {len(self.outcomes)} failed", *lines])


async def fulfil(client: Client, wish: Wish) -> Outcome:
    """Make a request, tried again as client-go does, and check its answer."""
    began = asyncio.get_running_loop().time()

    def outcome(attempts: int = 1, status: int = 0, problem: str = "", wrong: bool = False) -> Outcome:
        ended = asyncio.get_running_loop().time()
        return Outcome(wish.method, wish.target, wish.name, began, ended, attempts, status, problem, wrong)

    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer, attempts = await client.ask(wish.method, wish.target, wish.body)
    except Broken as error:
        return outcome(problem=f"{error}{' (on a connection that had been idle)' if error.reused else ''}")
    except TimeoutError:
        return outcome(problem="no answer in time")
    except OSError as error:
        return outcome(problem=f"not connected: {error}")
    if answer.status == wish.status:
        wrong = answer.body != wish.expected
        return outcome(attempts, answer.status, "wrong bytes" if wrong else "", wrong)
    text = answer.body[:300].decode(errors="replace")
    return outcome(attempts, answer.status, f"{answer.status} {text}", wrong=answer.status < 400)


KINDS: Final[Sequence[tuple[int, Callable[[str], Wish]]]] = (
    (55, get),
    (10, lambda name: get(name, LARGE_BYTES)),
    (30, post),
    (5, lambda name: post(name, UPLOAD_BYTES)),
)
"""What users do, by its share in a hundred."""


class Load:
    """So many requests a second, each in its own time; see `load`.

    Args:
        client: asks.
        per_second: how many.
        seed: decides in which order which kinds are asked.
        prefix: of the names of objects.

    Attributes:
        book: what became of them.
    """

    def __init__(self, client: Client, per_second: float, seed: int, prefix: str) -> None:
        self._client = client
        self._every = 1 / per_second
        self._random = random.Random(seed)
        self._prefix = prefix
        self._over = asyncio.Event()
        self.book = Book()
        self._sent = 0

    async def run(self) -> None:
        """Keep asking until `finish`, and return when all is answered. One that is late is not left out."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        shares, kinds = zip(*KINDS, strict=True)
        async with asyncio.TaskGroup() as tasks:
            while not self._over.is_set():
                (kind,) = self._random.choices(kinds, shares)
                self._sent += 1
                tasks.create_task(self._ask(kind(f"{self._prefix}-{self._sent}")))
                due += self._every
                await asyncio.sleep(max(due - loop.time(), 0))

    async def _ask(self, wish: Wish) -> None:
        self.book.outcomes.append(await fulfil(self._client, wish))

    def finish(self) -> None:
        """Ask no more."""
        self._over.set()


@asynccontextmanager
async def load(
    client: Client, *, per_second: float = 50, seed: int = 1, prefix: str = "load"
) -> AsyncIterator[Load]:
    """Load the service while the block runs, and wait for the last answers behind it."""
    found = Load(client, per_second, seed, prefix)
    async with beside(found.run()) as (running,):
        try:
            yield found
        finally:
            found.finish()
            await asyncio.wait([running])
            client.close()
