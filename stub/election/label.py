"""The label that leads a Service to the active stub's Pod.

The Service selects `cluster-tunnel/active=true`. A standby that is reached all the same answers 503, so a label that is late or
on two Pods for a moment costs a retry and nothing else: it is never what decides who is active.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final

from stub.election.api import KubernetesApi, NotThere
from stub.election.errors import StoreError, StoreUnavailable
from tunnel.kit.backoff import Backoff

ACTIVE_LABEL: Final = "cluster-tunnel/active"

CALL_SECONDS: Final = 2.5
"""The bound of each call."""

REVIEW_SECONDS: Final = 10.0
"""How often the active stub looks again: a call of a predecessor that was on its way may arrive late."""

_GROUP: Final = "CoreV1Api"
_log = logging.getLogger(__name__)


class PodLabel:
    """The label on the Pods of all stubs of one lease, as one of them sees it.

    RBAC: `list` and `patch` on pods in the namespace.

    Args:
        api: the apiserver; the caller closes it.
        namespace: the Pods'.
        pod: the name of this stub's own.
        selector: a label selector that all stubs of the lease have in common and no other Pod, such as
            `app.kubernetes.io/name=cluster-tunnel-stub`.
        review_seconds: how often the active stub looks again.
    """

    def __init__(
        self,
        api: KubernetesApi,
        namespace: str,
        pod: str,
        selector: str,
        review_seconds: float = REVIEW_SECONDS,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._pod = pod
        self._selector = selector
        self._review_seconds = review_seconds

    async def clear_own(self) -> None:
        """Take the label from this Pod: a container that was restarted in its Pod finds that of its former life.

        Tries until it has worked. It can be cancelled at any time.
        """
        await self._insist(self._set_own_off)

    async def keep(self) -> None:
        """Set the label on this Pod, take it from all others, and see to it that it stays so, until cancelled.

        It belongs into the leading work of a term.
        """
        while True:
            await self._insist(self._take)
            await asyncio.sleep(self._review_seconds)

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(random.random)
        while True:
            try:
                return await step()
            except StoreError as error:
                if not backoff.failures:
                    _log.warning("the active label cannot be set", extra={"reason": str(error)})
            await asyncio.sleep(backoff.next_seconds())

    async def _set_own_off(self) -> None:
        await self._patch(self._pod, None)

    async def _take(self) -> None:
        """One's own first: for a moment the Service then leads to both, which beats leading nowhere."""
        labelled = await self._labelled()
        if labelled.pop(self._pod, None) != "true":
            await self._patch(self._pod, "true")
        for pod in labelled:
            with contextlib.suppress(NotThere):  # its Pod was deleted in between, and the label with it
                await self._patch(pod, None)

    async def _labelled(self) -> dict[str, str]:
        """The Pods that have the label, with any value."""
        answer = await self._api.call(
            _GROUP,
            "list_namespaced_pod",
            self._namespace,
            label_selector=f"{self._selector},{ACTIVE_LABEL}",
            timeout_seconds=CALL_SECONDS,
        )
        try:
            metadata = [item["metadata"] for item in answer["items"]]
            return {each["name"]: each["labels"][ACTIVE_LABEL] for each in metadata}
        except (KeyError, TypeError):
            raise StoreUnavailable("the apiserver's list of Pods cannot be read") from None

    async def _patch(self, pod: str, value: str | None) -> None:
        body = {"metadata": {"labels": {ACTIVE_LABEL: value}}}
        await self._api.call(
            _GROUP, "patch_namespaced_pod", pod, self._namespace, body, timeout_seconds=CALL_SECONDS
        )
