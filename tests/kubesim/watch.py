"""Watches: the store's changes as a stream of events, one JSON object per line."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final

from tests.kubesim import status, tables
from tests.kubesim.http import Request, dumps
from tests.kubesim.resources import Resource
from tests.kubesim.selectors import Predicate
from tests.kubesim.store import Change, Object, Store, namespace_of

BOOKMARK_SECONDS: Final = 60.0
WATCH_SECONDS: Final = 1800.0
"""The least a watch without timeoutSeconds lasts; the apiserver adds up to as much again at random."""


@dataclass(slots=True)
class View:
    """How objects are shown to this client: as they are, as rows of a Table, or their metadata only."""

    form: str = "object"
    include: str = "Metadata"

    def event(self, kind: str, res: Resource, obj: Object, first: bool) -> bytes:
        """Return an event's line."""
        shown = obj
        if self.form == "table":
            meta = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            shown = tables.table(res, [obj], meta, self.include, headed=first)
        elif self.form == "metadata":
            shown = tables.partial(obj)
        return dumps({"type": kind, "object": shown}) + b"\n"


@dataclass(slots=True)
class WatchOptions:
    """What a watch's query says."""

    version: str
    bookmarks: bool
    initial: bool
    seconds: float

    @classmethod
    def of(cls, request: Request) -> "WatchOptions":
        """Read the query.

        Raises:
            ApiError: 400, 422 where it contradicts itself.
        """
        limit = request.number("timeoutSeconds")
        initial = request.flag("sendInitialEvents")
        if initial and request.query("resourceVersionMatch") != "NotOlderThan":
            cause = ("resourceVersionMatch", "FieldValueForbidden",
                     "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")  # fmt: skip
            raise status.invalid("ListOptions", "meta.k8s.io", "", [cause])
        seconds = float(limit) if limit else WATCH_SECONDS * (1 + secrets.randbelow(1000) / 1000)
        return cls(request.query("resourceVersion"), request.flag("allowWatchBookmarks"), initial, seconds)


class Watches:
    """All watches of the API.

    Attributes:
        bookmark_seconds: how often a quiet watch that asks for bookmarks gets one.
        open: how many watches are open now.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.bookmark_seconds = BOOKMARK_SECONDS
        self.open = 0

    async def stream(
        self, res: Resource, namespace: str, selects: Predicate, options: WatchOptions, view: View
    ) -> AsyncIterator[bytes]:
        """Iterate over the event lines of one watch, until its time is over or the client goes away."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        stop = self._store.listen(_into(queue, res, namespace))
        self.open += 1
        try:
            async for line in self._lines(queue, res, namespace, selects, options, view):
                yield line
        finally:
            self.open -= 1
            stop()

    async def _lines(
        self, queue: "asyncio.Queue[Change]", res: Resource, namespace: str, selects: Predicate,
        options: WatchOptions, view: View,
    ) -> AsyncIterator[bytes]:  # fmt: skip
        loop = asyncio.get_running_loop()
        end = loop.time() + options.seconds
        first = True
        for kind, obj in self._begin(res, namespace, selects, options):
            if kind == "ERROR":
                yield dumps({"type": kind, "object": obj}) + b"\n"
                return
            yield view.event(kind, res, obj, first)
            first = False
        quiet_until = loop.time() + self.bookmark_seconds
        while (now := loop.time()) < end:
            wake = min(end, quiet_until) if options.bookmarks else end
            try:
                change = await asyncio.wait_for(queue.get(), max(0.0, wake - now))
            except TimeoutError:
                if options.bookmarks:
                    yield view.event("BOOKMARK", res, self._bookmark(res), first)
                    quiet_until = loop.time() + self.bookmark_seconds
                continue
            event = event_for(change, selects)
            if event is not None:
                yield view.event(*event[:1], res, event[1], first)
                first = False

    def _begin(
        self, res: Resource, namespace: str, selects: Predicate, options: WatchOptions
    ) -> list[tuple[str, Object]]:
        """Return what a watch starts with: the objects that exist, or the changes since its version."""
        if options.version in ("", "0") or options.initial:
            found = [("ADDED", obj) for obj in self._store.list(res, namespace) if selects(obj)]
            if options.initial and options.bookmarks:
                done = self._bookmark(res)
                done["metadata"]["annotations"] = {"k8s.io/initial-events-end": "true"}
                found.append(("BOOKMARK", done))
            return found
        try:
            changes = self._store.since(int(options.version))
        except ValueError:
            return [
                ("ERROR", status.bad_request(f"Invalid value: {options.version!r}: strconv.ParseUint").body())
            ]
        except status.ApiError as error:
            return [("ERROR", error.body())]
        wanted = _concerns(res, namespace)
        return [event for change in changes if wanted(change) and (event := event_for(change, selects))]

    def _bookmark(self, res: Resource) -> Object:
        version = str(self._store.version)
        obj: Object = {"kind": res.kind, "apiVersion": res.api_version}
        return obj | {
            "metadata": {"resourceVersion": version, "creationTimestamp": None},
            "spec": {},
            "status": {},
        }


def _concerns(res: Resource, namespace: str) -> Callable[[Change], bool]:
    def test(change: Change) -> bool:
        same = change.resource is res
        return same and (not namespace or namespace_of(change.object) == namespace)

    return test


def _into(queue: "asyncio.Queue[Change]", res: Resource, namespace: str) -> Callable[[Change], None]:
    wanted = _concerns(res, namespace)
    return lambda change: queue.put_nowait(change) if wanted(change) else None


def event_for(change: Change, selects: Predicate) -> tuple[str, Object] | None:
    """Return the event a watch with this selector sees: an object that stops matching is DELETED, one that starts is
    ADDED."""
    now = change.kind != "DELETED" and selects(change.object)
    before = change.previous is not None and selects(change.previous)
    if now:
        return ("MODIFIED" if before else "ADDED"), change.object
    return ("DELETED", change.object) if before else None
