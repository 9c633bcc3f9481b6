"""Resources as policies name them: `pods`, `pods/log`, `deployments.apps`, `*.apps`, `*/scale`, `*`.

As in the apiserver's own rules a resource does not include its subresources, and a name without a group is the core group's. A
name that the core group does not have is a mistake that would otherwise make a rule silently too narrow.
"""

from dataclasses import dataclass
from typing import Final

from tunnel.core.policy.document import PolicyFault, nearest

CORE_RESOURCES: Final = frozenset(
    {
        "bindings",
        "componentstatuses",
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "namespaces",
        "nodes",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "serviceaccounts",
        "services",
    }
)
"""The core group, which has had no new resource since Kubernetes 1.3."""

GROUPS: Final = {
    resource: group
    for group, resources in {
        "apps": "controllerrevisions daemonsets deployments replicasets statefulsets",
        "autoscaling": "horizontalpodautoscalers",
        "batch": "cronjobs jobs",
        "coordination.k8s.io": "leases",
        "discovery.k8s.io": "endpointslices",
        "networking.k8s.io": "ingresses ingressclasses networkpolicies",
        "policy": "poddisruptionbudgets",
        "rbac.authorization.k8s.io": "clusterrolebindings clusterroles rolebindings roles",
        "scheduling.k8s.io": "priorityclasses",
        "storage.k8s.io": "csidrivers csinodes storageclasses volumeattachments",
        "apiextensions.k8s.io": "customresourcedefinitions",
        "admissionregistration.k8s.io": "mutatingwebhookconfigurations validatingwebhookconfigurations",
        "certificates.k8s.io": "certificatesigningrequests",
    }.items()
    for resource in resources.split()
}
"""Where well-known resources live, for hints and for `can`; a resource of any other group is written with it."""

SUBRESOURCES: Final = (
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
)
_MISSPELT_SUBRESOURCES: Final = {"logs": "log", "port-forward": "portforward", "debug": "ephemeralcontainers"}

Parts = tuple[str | None, str | None, str | None]
"""Group, resource, subresource; None is any."""


@dataclass(frozen=True, slots=True)
class ResourcePatterns:
    """A set of resources.

    Attributes:
        exact: group, resource and subresource spelt out.
        wild: those with a `*` somewhere.
        texts: as the policy has them, for reasons.
    """

    exact: frozenset[Parts]
    wild: tuple[Parts, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, resources: tuple[str, ...] | None, subresources: tuple[str, ...]) -> "ResourcePatterns":
        """Return what `resources` stand for, each of them with `subresources` as well; None is all resources, by themselves."""
        parts: set[Parts] = set()
        named: list[Parts] = (
            [(None, None, "")] if resources is None else [split_resource(text) for text in resources]
        )
        for group, resource, subresource in named:
            parts.add((group, resource, subresource))
            if subresource == "":
                parts.update((group, resource, None if sub == "*" else sub) for sub in subresources)
        exact = frozenset(each for each in parts if None not in each)
        texts = (*(resources or ("*",)), *(f"*/{sub}" for sub in subresources))
        return cls(exact, tuple(each for each in parts if None in each), texts)

    @property
    def everything(self) -> bool:
        """Whether all are among them."""
        return (None, None, None) in self.wild

    def cover(self, group: str, resource: str, subresource: str) -> bool:
        """Whether this one is among them."""
        return (group, resource, subresource) in self.exact or (
            bool(self.wild) and any(_matches(each, group, resource, subresource) for each in self.wild)
        )

    def __str__(self) -> str:
        more = f" and {len(self.texts) - 8} more" if len(self.texts) > 8 else ""
        return ", ".join(self.texts[:8]) + more


def _matches(parts: Parts, group: str, resource: str, subresource: str) -> bool:
    return (
        (parts[0] is None or parts[0] == group)
        and (parts[1] is None or parts[1] == resource)
        and (parts[2] is None or parts[2] == subresource)
    )


def split_resource(text: str) -> Parts:
    """Return the parts of `resource.group/subresource`; a lone `*` is everything, subresources included."""
    if text == "*":
        return None, None, None
    named, _, subresource = text.partition("/")
    resource, dot, group = named.partition(".")
    return (
        group if dot or resource != "*" else None,
        None if resource == "*" else resource,
        None if subresource == "*" else subresource,
    )


def check_resource(text: str, path: str) -> str:
    """Return a resource as `split_resource` reads it.

    Raises:
        PolicyFault: it is none, or a mistake about its group.
    """
    named, slash, subresource = text.partition("/")
    resource, dot, group = named.partition(".")
    if not resource or (slash and not subresource) or "/" in subresource or (dot and group in ("", "core")):
        raise PolicyFault(
            path, f"{text!r} is not a resource such as 'pods', 'deployments.apps' or 'pods/log'"
        )
    for part in (resource, group, subresource):
        if "*" in part and part != "*":
            raise PolicyFault(path, f"{text!r}: a '*' stands for a whole name, not for part of one")
    if group == "*":
        raise PolicyFault(path, f"{text!r}: a group is named, or '*' stands for everything")
    if not dot and resource != "*":
        _check_core(resource, path)
    if slash:
        _check_spelling(subresource, path)
    return text


def _check_core(resource: str, path: str) -> None:
    if resource in CORE_RESOURCES:
        return
    group = GROUPS.get(resource)
    if group is not None:
        raise PolicyFault(path, f"{resource!r} is of the group {group!r}: write '{resource}.{group}'")
    hint = nearest(resource, [*CORE_RESOURCES, *(f"{name}.{group}" for name, group in GROUPS.items())])
    raise PolicyFault(
        path, f"the core group has no {resource!r}{hint}; those of other groups are written NAME.GROUP"
    )


def check_subresource(text: str, path: str) -> str:
    """Return a subresource, or `*` for all.

    Raises:
        PolicyFault: it is spelt as on the command line, not as in the API.
    """
    if "/" in text or ("*" in text and text != "*"):
        raise PolicyFault(path, f"{text!r} is not a subresource such as 'log' or 'exec'")
    _check_spelling(text, path)
    return text


def _check_spelling(subresource: str, path: str) -> None:
    right = _MISSPELT_SUBRESOURCES.get(subresource)
    if right is not None:
        raise PolicyFault(path, f"the API calls {subresource!r} {right!r}")
