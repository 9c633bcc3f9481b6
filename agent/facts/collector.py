"""Finds out the cluster's version and capacity, now and then, as cheaply as the apiserver can tell them."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from agent.facts.apiserver import Apiserver
from agent.facts.items import BadList, ItemReader
from agent.facts.pods import mapping
from agent.facts.tally import Tally
from agent.facts.vitals import Vitals
from agent.upstream.question import NoAnswer, TooMuch
from tunnel.core.limits import KIB, MIB, TEXT_CHARACTERS
from tunnel.kit.failures import CommandFailed

_log = logging.getLogger(__name__)

# resourceVersion=0 is answered from the apiserver's cache, without etcd. Most apiservers then ignore the limit and send all at
# once, hence the bounds below; with a `continue` token no resourceVersion may be given.
NODES: Final = b"/api/v1/nodes?limit=500"
PODS: Final = b"/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed&limit=500"
FROM_CACHE: Final = b"&resourceVersion=0"

VERSION_BYTES: Final = 16 * KIB
VERSION_SECONDS: Final = 300.0
LIST_BYTES: Final = 128 * MIB
"""All pages of one list: some 15 000 pods, or as many nodes. Parsing them takes 4 s of a core, in steps of two milliseconds."""

ANSWER_SECONDS: Final = 60.0
PAGES: Final = 1000

REST_FACTOR: Final = 200.0
"""Between two rounds is at least this many times what the last one took: half a per cent of the apiserver's attention."""

TOO_LARGE_SECONDS: Final = 3600.0
"""A cluster that was too large to be counted will not shrink soon."""

Add = Callable[[dict[str, Any]], None]


class Left(Exception):
    """A fact that is left out; the text says why."""


class Collector:
    """See the module.

    Args:
        apiserver: is asked.
        vitals: get what it says.
        interval_seconds: between two rounds; None asks for the version alone, which costs nothing.
    """

    def __init__(self, apiserver: Apiserver, vitals: Vitals, interval_seconds: float | None) -> None:
        self._apiserver = apiserver
        self._vitals = vitals
        self._interval = interval_seconds
        self._loop = asyncio.get_running_loop()
        self._rest = 0.0
        self._left_out: dict[str, str] = {}

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            started = self._loop.time()
            self._rest = 0.0
            await self._fact("version", self._read_version)
            if self._interval is not None:
                await self._fact("capacity", self._read_capacity)
            await asyncio.sleep(self._pause(self._loop.time() - started))

    def _pause(self, took: float) -> float:
        # The agents of a DaemonSet start together and should not go on asking together.
        jitter = 0.8 + 0.4 * random.random()  # noqa: S311 not a secret
        return max(self._rest, (self._interval or VERSION_SECONDS) * jitter, REST_FACTOR * took)

    async def _fact(self, name: str, read: Callable[[], Any]) -> None:
        try:
            await read()
        except (Left, NoAnswer, BadList, CommandFailed) as reason:
            self._note(name, str(reason))
        else:
            self._left_out.pop(name, None)

    def _note(self, name: str, reason: str) -> None:
        if self._left_out.get(name) != reason:
            self._left_out[name] = reason
            _log.info("a fact about the cluster is left out", extra={"fact": name, "reason": reason})

    async def _read_version(self) -> None:
        body = bytearray()
        await self._get(b"/version", body.extend, VERSION_BYTES)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise Left("/version is not JSON") from None
        version = mapping(found).get("gitVersion")
        self._vitals.version = version[:TEXT_CHARACTERS] if isinstance(version, str) else ""

    async def _read_capacity(self) -> None:
        tally, vitals = Tally(), self._vitals
        # What is refused is left out from now on; where there was no answer, the facts of the last round still hold.
        try:
            await self._list(NODES, tally.add_node)
        except (Left, BadList):
            vitals.nodes, vitals.resources = 0, ()
            raise
        try:
            await self._list(PODS, tally.add_pod)
        except (Left, BadList) as reason:
            vitals.nodes, vitals.resources = tally.nodes, tally.capacities(pods_known=False)
            raise Left(f"only the totals are known: {reason}") from None
        vitals.nodes, vitals.resources = tally.nodes, tally.capacities(pods_known=True)

    async def _list(self, path: bytes, add: Add) -> None:
        left, token = LIST_BYTES, ""
        for _ in range(PAGES):
            page = _Page(add)
            await self._get(path + (_token(token) if token else FROM_CACHE), page.take, left)
            page.end()
            left -= page.taken
            token = page.reader.continues
            if not token:
                return
        raise Left(f"the list has more than {PAGES} pages")

    async def _get(self, path: bytes, take: Callable[[bytes | memoryview], None], most_bytes: int) -> None:
        shown = path.partition(b"?")[0].decode()
        for last in (False, True):
            try:
                answer = await self._apiserver.get(path, take, most_bytes=most_bytes, seconds=ANSWER_SECONDS)
            except TooMuch:
                self._rest = TOO_LARGE_SECONDS
                raise Left(f"{shown} is too large") from None
            if answer.status == 200:
                return
            if answer.status != 401 or last or not await self._apiserver.renew_credential():
                raise Left(f"the apiserver answers {answer.status} to {shown}")


def _token(token: str) -> bytes:
    return f"&continue={quote(token, safe='')}".encode()


class _Page:
    """One page of a list, on its way to whoever counts it."""

    def __init__(self, add: Add) -> None:
        self.reader = ItemReader()
        self.taken = 0
        self._add = add

    def take(self, data: bytes | memoryview) -> None:
        self.taken += len(data)
        for item in self.reader.feed(data):
            self._add(item)

    def end(self) -> None:
        for item in self.reader.end():
            self._add(item)
