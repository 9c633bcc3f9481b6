"""Requests at a steady pace for as long as a block lasts, tried again as client-go does and no more.

That is: after an answer with an integer Retry-After; and a GET whose connection broke. Every tenth request creates an object with a
name of its own, so that one that was carried out twice, or was answered and lost, shows in the cluster.
"""

import contextlib
import http.client
import itertools
import json
import secrets
import select
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

TRIES = 10
"""As client-go."""

RATE = 50
WORKERS = 10
TIMEOUT_SECONDS = 30
REQUESTS_PER_CONNECTION = 40
"""Then a new one is dialled: through a Service it may lead elsewhere."""


@dataclass(frozen=True)
class Target:
    """Where the requests go, and as whom.

    Attributes:
        host, port: of the stub.
        path: of the ConfigMaps in a namespace, in which this user may do everything.
        folder: with server-ca.crt, and with the certificate and key of the user.
        user: the stem of those files.
    """

    host: str
    port: int
    path: str
    folder: Path
    user: str

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder / "server-ca.crt"))
        context.load_cert_chain(self.folder / f"{self.user}.crt", self.folder / f"{self.user}.key")
        return context


@dataclass
class Tally:
    """What became of the requests.

    Attributes:
        answered: when each good answer came, by `time.monotonic()`.
        seconds: how long each took, tries again included.
        told_to_wait: answers with a Retry-After.
        broken: connections that broke under a GET, which was sent again.
        failures: what a user would have seen, and when.
        created: the names of what was created.
        began: by the same clock as `answered`.
        run: is in every name.
    """

    answered: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    told_to_wait: int = 0
    broken: int = 0
    failures: list[tuple[float, str]] = field(default_factory=list)
    created: set[str] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)
    run: str = field(default_factory=lambda: secrets.token_hex(4))

    @property
    def longest_silence(self) -> float:
        """The longest time in seconds without a good answer to anybody."""
        moments = sorted(self.answered)
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def __str__(self) -> str:
        ordered = sorted(self.seconds)
        p50, p99, top = (ordered[int(len(ordered) * part)] for part in (0.5, 0.99, 0.9999))
        return (
            f"{len(self.answered)} answered, {len(self.failures)} failed, {self.told_to_wait} told to wait, {self.broken} connections "
            f"broken; {p50 * 1000:.0f} ms in the middle, p99 {p99 * 1000:.0f} ms, at most {top:.2f} s; longest silence "
            f"{self.longest_silence:.2f} s"
        )


class _Worker:
    """One client with one connection."""

    def __init__(self, target: Target, tally: Tally, number: int) -> None:
        self._target = target
        self._tally = tally
        self._number = number
        self._context = target.context()
        self._connection: http.client.HTTPSConnection | None = None
        self._sent = 0

    def run(self, stop: threading.Event) -> None:
        due = time.monotonic() + self._number / RATE
        while not stop.wait(max(0.0, due - time.monotonic())):
            self._one()
            due = max(due + WORKERS / RATE, time.monotonic())
        self._drop()

    def _one(self) -> None:
        self._sent += 1
        if self._sent % REQUESTS_PER_CONNECTION == 0:
            self._drop()
        name = f"load-{self._tally.run}-{self._number}-{self._sent}" if self._sent % 10 == 0 else ""
        began = time.monotonic()
        failure = self._until_answered(name)
        now = time.monotonic()
        if failure:
            self._tally.failures.append((now, failure))
            return
        self._tally.answered.append(now)
        self._tally.seconds.append(now - began)
        if name:
            self._tally.created.add(name)

    def _until_answered(self, name: str) -> str:
        failure = ""
        for _ in range(TRIES):
            try:
                connection = self._connected()
            except OSError as error:
                self._drop()
                return repr(error)
            try:
                status, again, failure = self._exchange(connection, name)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                failure = f"{'POST' if name else 'GET'} {error!r}"
                if name:
                    return failure
                self._tally.broken += 1
                continue
            if 200 <= status < 300:
                return ""
            if not again.isdigit() or status not in (429, 500, 502, 503, 504):
                return failure
            self._tally.told_to_wait += 1
            time.sleep(int(again))
        return failure

    def _exchange(self, connection: http.client.HTTPSConnection, name: str) -> tuple[int, str, str]:
        if name:
            body = json.dumps({"metadata": {"name": name}})
            connection.request("POST", self._target.path, body, {"Content-Type": "application/json"})
        else:
            connection.request("GET", f"{self._target.path}?limit=5")
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        if answer.will_close:
            self._drop()
        return answer.status, answer.getheader("Retry-After") or "", f"{answer.status} {text[:300]}"

    def _connected(self) -> http.client.HTTPSConnection:
        connection = self._connection
        if connection is not None and connection.sock is not None:
            # As Go: a connection that the other end has closed while it was idle is not used again.
            if not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        self._connection = http.client.HTTPSConnection(
            self._target.host, self._target.port, timeout=TIMEOUT_SECONDS, context=self._context
        )
        self._connection.connect()
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@contextlib.contextmanager
def steady_load(target: Target) -> Iterator[Tally]:
    """Send 50 requests a second while the block runs; the tally is complete behind it."""
    tally, stop = Tally(), threading.Event()
    workers = [_Worker(target, tally, number) for number in range(WORKERS)]
    threads = [threading.Thread(target=worker.run, args=(stop,)) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join()
