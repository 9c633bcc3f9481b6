"""What the API says about itself: `/api`, `/apis`, both forms of discovery, and `/version`."""

from typing import Any, Final

from tests.kubesim.resources import RESOURCES, Resource, Subresource, groups

Json = dict[str, Any]

VERSION: Final[Json] = {
    "major": "1", "minor": "34",
    "emulationMajor": "1", "emulationMinor": "34",
    "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
    "gitVersion": "v1.34.4", "gitCommit": "kubesim", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
}  # fmt: skip
# The group of a subresource's own kind is named only where it differs from its parent's.


def api_versions(address: str) -> Json:
    """Return `/api`."""
    by_client = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": by_client}


def group(name: str) -> Json:
    """Return one group as `/apis` lists it."""
    versions = list(dict.fromkeys(r.version for r in RESOURCES if r.group == name))
    entries = [{"groupVersion": f"{name}/{v}", "version": v} for v in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def group_list() -> Json:
    """Return `/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in groups()]}


def resource_list(group_name: str, version: str) -> Json | None:
    """Return `/api/v1` or `/apis/GROUP/VERSION`, or None where there is no such version."""
    rows = [r for r in RESOURCES if (r.group, r.version) == (group_name, version)]
    if not rows:
        return None
    entries: list[Json] = []
    for res in rows:
        entries.append(_legacy(res))
        entries += [_legacy_sub(res, sub) for sub in res.subresources]
    head = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if group_name else {})
    return head | {"groupVersion": rows[0].api_version, "resources": entries}


def _legacy(res: Resource) -> Json:
    entry: Json = {
        "name": res.plural,
        "singularName": res.singular,
        "namespaced": res.namespaced,
        "kind": res.kind,
        "verbs": list(res.verbs),
    }
    if res.short:
        entry["shortNames"] = list(res.short)
    if res.categories:
        entry["categories"] = list(res.categories)
    return entry


def _legacy_sub(res: Resource, sub: Subresource) -> Json:
    entry: Json = {"name": f"{res.plural}/{sub.name}", "singularName": "", "namespaced": res.namespaced}
    if sub.group:
        entry |= {"group": sub.group, "version": sub.version}
    return entry | {"kind": sub.kind, "verbs": list(sub.verbs)}


def aggregated(named: bool, version: str) -> Json:
    """Return the aggregated discovery of `/apis` (named groups) or `/api`, as `v2` or `v2beta1`."""
    wanted = groups() if named else [""]
    items = []
    for name in wanted:
        rows = [r for r in RESOURCES if r.group == name]
        versions = list(dict.fromkeys(r.version for r in rows))
        entries = [
            {
                "version": v,
                "resources": [_aggregated(r) for r in rows if r.version == v],
                "freshness": "Current",
            }
            for v in versions
        ]
        meta = {"name": name, "creationTimestamp": None} if name else {"creationTimestamp": None}
        items.append({"metadata": meta, "versions": entries})
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}"}
    return head | {"metadata": {}, "items": items}


def _aggregated(res: Resource) -> Json:
    entry: Json = {
        "resource": res.plural,
        "responseKind": _kind("", "", res.kind),
        "scope": "Namespaced" if res.namespaced else "Cluster",
        "singularResource": res.singular,
        "verbs": list(res.verbs),
    }
    if res.short:
        entry["shortNames"] = list(res.short)
    if res.categories:
        entry["categories"] = list(res.categories)
    if res.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.group, sub.version if sub.group else "", sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in res.subresources
        ]
    return entry


def _kind(group_name: str, version: str, kind: str) -> Json:
    return {"group": group_name, "version": version, "kind": kind}


def paths() -> Json:
    """Return `/`."""
    named = [f"/apis/{name}" for name in groups()]
    versions = [f"{path}/v1" for path in named]
    others = ["/api", "/api/v1", "/apis", "/apis/", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/openapi/v3/",
              "/readyz", "/version"]  # fmt: skip
    return {"paths": sorted(named + versions + others)}
