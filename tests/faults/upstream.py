"""An apiserver that counts: answers what `tests.faults.content` says, and keeps what reached it, from which agent, and when.

It answers 401 unless an agent's own token and the user come with the request, so that a tunnel which forgets its job in a
fault does not pass for a healthy one.
"""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httptools

from tests.faults import content

USER: Final = "alice"

_STREAM: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
_SWITCH: Final = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request that reached the apiserver.

    Attributes:
        at: `time.time()` when it was whole.
        agent: whose token it carried.
    """

    at: float
    agent: str
    method: str
    target: str


@dataclass
class Counting:
    """What reached the apiserver.

    Attributes:
        agents: names of agents by their tokens.
        tokens: those that were used.
        arrivals: in order; probes of the agents are left out.
        created: how often each object was created.
        under_way: GETs and POSTs that are being answered, by agent.
        connections: how many are open, by agent; by an empty name until the first request.
        holding: whether delayed answers wait for `release`.
        open: these connections.
    """

    agents: dict[str, str]
    tokens: set[str] = field(default_factory=set)
    arrivals: list[Arrival] = field(default_factory=list)
    created: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)
    open: "set[Connection]" = field(default_factory=set)
    holding: bool = False

    def release(self) -> None:
        """Let everything be answered that was held back, and nothing be held back any more."""
        self.holding = False
        for connection in self.open:
            connection.answer_held()

    def cut(self) -> None:
        """Break every connection off, as an apiserver does that is restarted."""
        for connection in list(self.open):
            connection.transport.abort()


class Connection(asyncio.Protocol):
    """One connection of an agent. Requests come one at a time.

    Args:
        counting: hears of each request.
    """

    transport: asyncio.Transport

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._held: tuple[int, bytes] | None = None
        self._delayed = False
        self._piped = False
        self._agent = ""
        self._begin()

    def _begin(self) -> None:
        self._target = ""
        self._sender: str | None = None
        self._fields: dict[str, str] = {}
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._counting.open.add(self)
        self._counting.connections[self._agent] += 1

    def data_received(self, data: bytes) -> None:
        if self._piped:
            self.transport.write(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._piped = True
            self.transport.write(data[upgrade.args[0] :])

    def connection_lost(self, error: Exception | None) -> None:
        self._counting.open.discard(self)
        self._counting.connections[self._agent] -= 1
        if self._timer is not None:
            self._timer.cancel()
        if self._delayed:
            self._counting.under_way[self._agent] -= 1

    # What the parser says --------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        self._target += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode().lower()] = value.decode()

    def on_headers_complete(self) -> None:
        # As an apiserver does, before it reads a body: a token that is refused meanwhile was good when it came.
        token = self._fields.get("authorization", "").removeprefix("Bearer ")
        self._sender = self._counting.agents.get(token)
        self._counting.tokens.add(token)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method, target = self._parser.get_method().decode(), self._target
        agent, fields, body = self._sender, self._fields, self._body
        self._begin()
        self._known_as(agent or "")
        if agent is None or (target.startswith("/api/") and fields.get("impersonate-user") != USER):
            self._whole(401, b"")
        elif not target.startswith("/api/"):
            self._whole(200, b"{}")
        else:
            arrival = Arrival(time.time(), agent, method, target)
            self._counting.arrivals.append(arrival)
            self._answer(method, target, bytes(body))

    def _known_as(self, agent: str) -> None:
        if agent != self._agent:
            self._counting.connections[self._agent] -= 1
            self._counting.connections[agent] += 1
            self._agent = agent

    # Answers ---------------------------------------------------------------------------------------

    def _answer(self, method: str, target: str, body: bytes) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        if target.startswith(content.EXEC):
            self.transport.write(_SWITCH)
        elif "watch" in query:
            self.transport.write(_STREAM)
            self._tick(content.event, int(query["resourceVersion"]) + 1)
        elif "follow" in query:
            self.transport.write(_STREAM)
            self._tick(content.log_line, int(query["sinceTime"]) + 1)
        elif method == "POST":
            # Whether or not anybody hears of it, the object exists from here on.
            self._counting.created[json.loads(body)["metadata"]["name"]] += 1
            self._after(query, 201, content.created(body))
        else:
            self._after(query, 200, content.body_of(target, int(query.get("bytes", "2"))))

    def _after(self, query: dict[str, str], status: int, body: bytes) -> None:
        self._counting.under_way[self._agent] += 1
        self._delayed = True
        delay = int(query.get("delay", "0")) / 1000
        if delay and self._counting.holding:
            self._held = (status, body)
            return
        self._timer = self._loop.call_later(delay, self._finish, status, body)

    def answer_held(self) -> None:
        """Answer what was held back here."""
        if self._held is not None:
            self._finish(*self._held)
            self._held = None

    def _finish(self, status: int, body: bytes) -> None:
        self._delayed = False
        self._counting.under_way[self._agent] -= 1
        self._whole(status, body)

    def _whole(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def _tick(self, line: Callable[[int], bytes], number: int) -> None:
        data = line(number)
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        self._timer = self._loop.call_later(content.TICK_SECONDS, self._tick, line, number + 1)


@asynccontextmanager
async def upstream(context: ssl.SSLContext, agents: dict[str, str]) -> AsyncIterator[tuple[Counting, int]]:
    """Listen while the block runs; what it counts, and its port, are given."""
    counting = Counting(agents)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(counting), "127.0.0.1", 0, ssl=context, backlog=1024
    )
    try:
        yield counting, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        counting.cut()
