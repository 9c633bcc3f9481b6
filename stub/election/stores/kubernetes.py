"""A lease in a Kubernetes Lease.

A renewal is one request: the PUT answers with the object and the resourceVersion that the next PUT is conditional on. RBAC:
`get`, `update` and `watch` on the Lease by its name, and `create` on leases, which cannot be limited by name.
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Final

from stub.election.api import KubernetesApi, NotThere
from stub.election.errors import StoreConflict, StoreRefused
from stub.election.record import LeaseRecord, parse_lease, render_lease

_GROUP: Final = "CoordinationV1Api"


class KubernetesLeaseStore:
    """The store.

    Args:
        api: the apiserver; it is closed with the store.
        namespace: where the Lease is, or will be created; the namespace itself is not.
        name: its name.
    """

    def __init__(self, api: KubernetesApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name

    async def open(self) -> None:
        """As `LeaseStore.open`: the configuration is read, the apiserver is not asked."""
        await self._api.open()

    async def read(self, timeout_seconds: float) -> LeaseRecord | None:
        """As `LeaseStore.read`: without a resourceVersion in the query, so that etcd answers and no cache."""
        try:
            manifest = await self._api.call(
                _GROUP,
                "read_namespaced_lease",
                self._name,
                self._namespace,
                timeout_seconds=timeout_seconds,
            )
        except NotThere:
            return None
        return parse_lease(manifest)

    async def write(self, record: LeaseRecord, timeout_seconds: float) -> LeaseRecord:
        """As `LeaseStore.write`."""
        body = render_lease(record, self._namespace, self._name)
        if not record.version:
            return await self._create(body, timeout_seconds)
        try:
            manifest = await self._api.call(
                _GROUP,
                "replace_namespaced_lease",
                self._name,
                self._namespace,
                body,
                timeout_seconds=timeout_seconds,
            )
        except NotThere as error:
            raise StoreConflict(str(error)) from None
        return parse_lease(manifest)

    async def _create(self, body: dict[str, object], timeout_seconds: float) -> LeaseRecord:
        try:
            manifest = await self._api.call(
                _GROUP, "create_namespaced_lease", self._namespace, body, timeout_seconds=timeout_seconds
            )
        except NotThere as error:
            raise StoreRefused(f"namespace {self._namespace}: {error}") from None
        return parse_lease(manifest)

    def watch(self) -> AsyncIterator[LeaseRecord | None]:
        """As `LeaseStore.watch`."""
        return self._watch()

    async def _watch(self) -> AsyncIterator[LeaseRecord | None]:
        # A selector on the name is what lets RBAC allow the watch by resourceNames.
        selector = f"metadata.name={self._name}"
        events = self._api.watch(_GROUP, "list_namespaced_lease", self._namespace, field_selector=selector)
        async with contextlib.aclosing(events):
            async for kind, manifest in events:
                if kind in ("ADDED", "MODIFIED"):
                    yield parse_lease(manifest)
                elif kind == "DELETED":
                    yield None

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()
