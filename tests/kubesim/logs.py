"""What containers wrote, line by line with the time, and the `log` subresource that reads it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from tests.kubesim import clock, status
from tests.kubesim.containers import PodName
from tests.kubesim.http import Request
from tests.kubesim.store import Object

KEPT_BYTES: Final = 10 * 1024 * 1024
"""Of one container's run; older lines go, as the kubelet rotates at 10 MiB."""
_BATCH_BYTES: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it was written, with its newline unless the output broke off."""

    time: datetime
    text: bytes


class ContainerLog:
    """The output of one run of a container."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._first = 0
        self._size = 0
        self._partial: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self.ended = False

    @property
    def end(self) -> int:
        """The number of the next line."""
        return self._first + len(self._lines)

    def write(self, stream: str, data: bytes) -> None:
        """Add what a stream wrote; a line counts once it is whole."""
        *whole, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        now = datetime.now(UTC)
        for text in whole:
            self._add(Line(now, text + b"\n"))
        if rest:
            self._partial[stream] = rest
        if whole:
            self._wake()

    def finish(self) -> None:
        """Note that no more will come; what lacks its newline is kept as it is."""
        for rest in self._partial.values():
            self._add(Line(datetime.now(UTC), rest))
        self._partial.clear()
        self.ended = True
        self._wake()

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        self._size += len(line.text)
        while self._size > KEPT_BYTES:
            self._size -= len(self._lines.popleft().text)
            self._first += 1

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def start_for(self, tail: int | None, since: datetime | None) -> int:
        """Return the number of the first line to show."""
        start = self._first
        if since is not None:
            start += sum(1 for line in self._lines if line.time < since)
        if tail is not None:
            start = max(start, self.end - tail)
        return start

    async def lines(self, start: int, *, follow: bool) -> AsyncIterator[Line]:
        """Iterate from line `start` on; with `follow` until the container ends."""
        position = start
        while True:
            changed = self._changed
            while position < self.end:
                position = max(position, self._first)
                yield self._lines[position - self._first]
                position += 1
            if not follow or self.ended:
                return
            await changed.wait()


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What a log request's query says."""

    container: str
    follow: bool
    previous: bool
    timestamps: bool
    tail: int | None
    since: datetime | None
    limit: int | None

    @classmethod
    def of(cls, request: Request) -> "LogOptions":
        """Read the query.

        Raises:
            ApiError: 400 a number is none, 422 it is out of range.
        """
        tail, limit, seconds = (request.number(n) for n in ("tailLines", "limitBytes", "sinceSeconds"))
        for name, value, least in (
            ("tailLines", tail, 0),
            ("limitBytes", limit, 1),
            ("sinceSeconds", seconds, 1),
        ):
            if value is not None and value < least:
                bound = "greater than 0" if least else "greater than or equal to 0"
                cause = (name, "FieldValueInvalid", f"Invalid value: {value}: must be {bound}")
                raise status.invalid("PodLogOptions", "", "", [cause])
        since = datetime.now(UTC) - timedelta(seconds=seconds) if seconds else None
        if request.query("sinceTime"):
            since = clock.parse(request.query("sinceTime"))
        return cls(
            request.query("container"), request.flag("follow"), request.flag("previous"),
            request.flag("timestamps"), tail, since, limit,
        )  # fmt: skip


class LogSource(Protocol):
    """Where the logs of running and ended containers are."""

    def log_of(self, pod: PodName, uid: str, container: str, *, previous: bool) -> ContainerLog | None:
        """Return the log of a container's current or previous run, or None where there was none."""


class Logs:
    """Serves the `log` subresource."""

    def __init__(self, source: LogSource) -> None:
        self._source = source

    def open(self, pod: Object, options: LogOptions) -> AsyncIterator[bytes]:
        """Return the log as a stream of pieces.

        Raises:
            ApiError: 400, there is no such container, or it has not run (yet, or before).
        """
        name = pod["metadata"]["name"]
        container = options.container or _only_container(pod)
        every = [c["name"] for c in _all_containers(pod)]
        if container not in every:
            raise status.bad_request(f"container {container} is not valid for pod {name}")
        where = PodName(pod["metadata"]["namespace"], name)
        log = self._source.log_of(where, pod["metadata"]["uid"], container, previous=options.previous)
        if log is None and options.previous:
            text = f'previous terminated container "{container}" in pod "{name}" not found'
            raise status.bad_request(text)
        if log is None:
            text = (
                f'container "{container}" in pod "{name}" is waiting to start: {_waiting_for(pod, container)}'
            )
            raise status.bad_request(text)
        return _pieces(log, options)


def _all_containers(pod: Object) -> list[Object]:
    spec = pod["spec"]
    return [
        c for field in ("containers", "initContainers", "ephemeralContainers") for c in spec.get(field) or []
    ]


def _only_container(pod: Object) -> str:
    names = [c["name"] for c in pod["spec"]["containers"]]
    annotations = pod["metadata"].get("annotations") or {}
    default = annotations.get("kubectl.kubernetes.io/default-container")
    if default in names:
        return str(default)
    if len(names) > 1:
        choice = f"choose one of: [{' '.join(names)}]"
        text = f"a container name must be specified for pod {pod['metadata']['name']}, {choice}"
        raise status.bad_request(text)
    return str(names[0])


def _waiting_for(pod: Object, container: str) -> str:
    for entry in pod.get("status", {}).get("containerStatuses") or []:
        if entry["name"] == container:
            return str((entry.get("state") or {}).get("waiting", {}).get("reason", "ContainerCreating"))
    return "ContainerCreating"


async def _pieces(log: ContainerLog, options: LogOptions) -> AsyncIterator[bytes]:
    """Iterate over the text in pieces: what is there together, what comes later line by line."""
    left = options.limit
    batch = bytearray()
    start, known = log.start_for(options.tail, options.since), log.end
    position = start
    async for line in log.lines(start, follow=options.follow):
        position += 1
        stamp = line.time.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode() if options.timestamps else b""
        batch += stamp + line.text
        if left is not None and len(batch) >= left:
            yield bytes(batch[:left])
            return
        if position >= known or len(batch) > _BATCH_BYTES:
            yield bytes(batch)
            left = None if left is None else left - len(batch)
            batch.clear()
    if batch:
        yield bytes(batch)
