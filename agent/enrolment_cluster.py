"""Which cluster the agent is in: the UID of its namespace kube-system, which no other cluster has."""

import json

from agent.facts.apiserver import Apiserver
from agent.upstream.question import NoAnswer
from certs.names import check_uid
from tunnel.kit.failures import CommandFailed

NAMESPACE = b"/api/v1/namespaces/kube-system"
_BYTES = 256 * 1024
_SECONDS = 10.0


class ClusterUnknown(Exception):
    """The apiserver does not say now; the text says why."""


async def read_cluster_uid(apiserver: Apiserver) -> str:
    """Return the UID of the cluster.

    Raises:
        ClusterUnknown: the apiserver did not answer, or not with a namespace.
        CommandFailed: the agent's credential may not read it.
    """
    body = bytearray()
    try:
        answer = await apiserver.get(NAMESPACE, body.extend, most_bytes=_BYTES, seconds=_SECONDS)
        if answer.status == 401 and await apiserver.renew_credential():
            answer = await apiserver.get(NAMESPACE, body.extend, most_bytes=_BYTES, seconds=_SECONDS)
    except NoAnswer as error:
        raise ClusterUnknown(f"the apiserver: {error}") from None
    if answer.status in (401, 403):
        raise CommandFailed(
            f"the apiserver does not let the agent read its namespace kube-system (HTTP {answer.status}), whose UID binds the "
            "agent's certificate to this cluster; grant it get on namespaces, resourceNames [kube-system]"
        )
    if answer.status != 200:
        raise ClusterUnknown(f"the apiserver answered HTTP {answer.status}")
    return _uid(bytes(body))


def _uid(body: bytes) -> str:
    try:
        return check_uid(json.loads(body)["metadata"]["uid"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ClusterUnknown("the apiserver's answer is not a namespace") from None
