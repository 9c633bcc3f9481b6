"""Who is connected, as operators see it."""

import asyncio
from typing import TYPE_CHECKING

from stub.agents.registry import Registry

if TYPE_CHECKING:
    from stub.agents.link import AgentLink

Listing = dict[str, list[dict[str, object]]]
"""The sessions of each cluster's agents, fit for JSON."""


def list_clusters(registry: Registry) -> Listing:
    """Return the agents that are connected to this process, by cluster."""
    now = asyncio.get_running_loop().time()
    return {
        cluster: [_describe(link, now) for link in entry.agents]
        for cluster, entry in sorted(registry.clusters.items())
    }


def _describe(link: "AgentLink", now: float) -> dict[str, object]:
    return {
        "agent": link.name,
        "software": link.software,
        "address": link.address,
        "connectedSeconds": round(now - link.connected_at, 1),
        "channels": len(link.channels),
        "requestsInFlight": link.report.requests,
        "pipes": link.report.pipes,
        "draining": link.draining,
        "upstreamReachable": link.report.upstream_reachable,
        "upstreamMilliseconds": link.report.upstream_milliseconds,
        "upstreamVersion": link.report.upstream_version,
        "nodes": link.report.nodes,
        "resources": {each.resource: each.content() for each in link.report.resources},
    }
