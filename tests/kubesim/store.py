"""Objects and their history: what etcd is to the apiserver.

An object handed to the store or out of it is never changed afterwards; who wants another one copies it first.
"""

import copy
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tests.kubesim import status
from tests.kubesim.resources import Resource

Object = dict[str, Any]

HISTORY: Final = 10_000
"""Events kept for watches that start in the past; older resourceVersions are 410, as after etcd's compaction."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write.

    Attributes:
        kind: `ADDED`, `MODIFIED` or `DELETED`.
        version: the resourceVersion it made.
        object: the object afterwards; for a deletion its last state, with the deletion's resourceVersion.
        previous: the object before, None for ADDED.
    """

    kind: str
    resource: Resource
    version: int
    object: Object
    previous: Object | None


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


class Store:
    """All objects by resource, namespace and name, with one counter of versions."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[tuple[str, str], dict[tuple[str, str], Object]] = {}
        self._history: deque[Change] = deque(maxlen=HISTORY)
        self._compacted = 0
        self._listeners: list[Callable[[Change], None]] = []

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Return an object.

        Raises:
            ApiError: 404.
        """
        found = self.peek(resource, namespace, name)
        if found is None:
            raise status.not_found(resource.plural, resource.group, name)
        return found

    def peek(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """Return an object, or None."""
        return self._table(resource).get((namespace, name))

    def list(self, resource: Resource, namespace: str = "") -> list[Object]:
        """Return the objects of a namespace, or of all for "", in the order of namespace and name."""
        table = self._table(resource)
        return [table[key] for key in sorted(table) if not namespace or key[0] == namespace]

    def create(self, resource: Resource, obj: Object) -> Object:
        """Commit a new object.

        Raises:
            ApiError: 409 AlreadyExists.
        """
        key = (namespace_of(obj), name_of(obj))
        if key in self._table(resource):
            raise status.already_exists(resource.plural, resource.group, key[1])
        return self._commit("ADDED", resource, obj, None)

    def update(self, resource: Resource, obj: Object) -> Object:
        """Commit a new state of an object that exists. One that changes nothing makes no new version.

        Raises:
            ApiError: 404.
        """
        previous = self.get(resource, namespace_of(obj), name_of(obj))
        if _same(obj, previous):
            return previous
        return self._commit("MODIFIED", resource, obj, previous)

    def remove(self, resource: Resource, namespace: str, name: str) -> Object:
        """Commit an object's end and return its last state.

        Raises:
            ApiError: 404.
        """
        previous = self.get(resource, namespace, name)
        return self._commit("DELETED", resource, previous, previous)

    def since(self, version: int) -> Iterator[Change]:
        """Iterate over the changes after `version`.

        Raises:
            ApiError: 410, where they are no longer kept.
        """
        if version < self._compacted:
            raise status.expired(f"too old resource version: {version} ({self._compacted})")
        return iter([change for change in self._history if change.version > version])

    def compact(self) -> None:
        """Forget the history: every watch from before now is answered 410."""
        self._history.clear()
        self._compacted = self.version

    def listen(self, listener: Callable[[Change], None]) -> Callable[[], None]:
        """Call `listener` at every commit; the returned function ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _table(self, resource: Resource) -> dict[tuple[str, str], Object]:
        return self._objects.setdefault((resource.group, resource.plural), {})

    def _commit(self, kind: str, resource: Resource, obj: Object, previous: Object | None) -> Object:
        self.version += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(self.version)
        table, key = self._table(resource), (namespace_of(stored), name_of(stored))
        if kind == "DELETED":
            del table[key]
        else:
            table[key] = stored
        if len(self._history) == HISTORY:
            self._compacted = self._history[0].version
        change = Change(kind, resource, self.version, stored, previous)
        self._history.append(change)
        for listener in tuple(self._listeners):
            listener(change)
        return stored


def _same(new: Object, old: Object) -> bool:
    def bare(obj: Object) -> Object:
        meta = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "managedFields")}
        return {**obj, "metadata": meta}

    return bare(new) == bare(old) and _owners(new) == _owners(old)


def _owners(obj: Object) -> list[Object]:
    """Return who owns what, without the times: taking nothing new over is no change."""
    fields = obj["metadata"].get("managedFields", [])
    return [{k: v for k, v in entry.items() if k != "time"} for entry in fields]
