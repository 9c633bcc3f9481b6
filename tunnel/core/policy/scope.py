"""What a policy lets through: conditions on a request, all of which hold at once."""

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tunnel.core.http.kubernetes import RequestInfo
from tunnel.core.policy.document import PolicyFault, Section, nearest
from tunnel.core.policy.patterns import NamePatterns, check_pattern, read_limit
from tunnel.core.policy.request import READ_METHODS, Door, PolicyRequest, is_self_review, selected_name
from tunnel.core.policy.resources import ResourcePatterns, check_resource, check_subresource

SCOPE_KEYS: Final = (
    "readOnly",
    "noExec",
    "noPortForward",
    "noProxy",
    "verbs",
    "namespaces",
    "resources",
    "subresources",
    "names",
    "nonResourceURLs",
)
VERBS: Final = (
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "proxy",
)
READ_VERBS: Final = frozenset({"get", "list", "watch"})

_METHOD_VERBS: Final = {
    b"GET": "get",
    b"HEAD": "get",
    b"POST": "create",
    b"PUT": "update",
    b"PATCH": "patch",
    b"DELETE": "delete",
}
# What `system:discovery` grants every user, and what token issuers publish. `/api/x` and `/apis/x/y` are no resources.
_DISCOVERY: Final = re.compile(
    r"/(?:(?:api|apis)(?:/[^/]+){0,2}/?|openapi(?:/.*)?|version/?|healthz|livez|readyz|swagger-2\.0\.0\.(?:json|pb-v1)"
    r"|\.well-known/openid-configuration|openid/v1/jwks)?"
)

_DOORS: Final[dict[Door, str]] = {
    "exec": "running commands in pods",
    "portforward": "port-forward",
    "proxy": "the apiserver's proxy",
    "nodeproxy": "the proxy to nodes, whose kubelet runs commands in every pod",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be asked. `None` and False limit nothing.

    Attributes:
        read_only: only get, list and watch, and nothing that opens a way past the API's objects.
        no_exec: no exec, attach, debug container, unknown upgrade, and no way to a kubelet.
        no_port_forward, no_proxy: likewise.
        verbs: as the apiserver knows them.
        namespaces: in these alone: nothing of the whole cluster, no list across all namespaces.
        resources: with their subresources as far as those are named.
        names: of single objects; a collection only through a selector that leaves one of them.
        urls: paths that are no resources, besides discovery, which always stays readable; None is all, or, where
            namespaces, resources or names are limited, none.
    """

    read_only: bool = False
    no_exec: bool = False
    no_port_forward: bool = False
    no_proxy: bool = False
    verbs: frozenset[str] | None = None
    namespaces: NamePatterns | None = None
    resources: ResourcePatterns | None = None
    names: NamePatterns | None = None
    urls: NamePatterns | None = None

    @property
    def limits_nothing(self) -> bool:
        """Whether every request passes."""
        return self == Scope()

    def barrier(self, request: PolicyRequest) -> "Barrier | None":
        """Return what a request is stopped by, or None where it is within."""
        if request.unclear:
            return Barrier.UNCLEAR
        if request.door and self._closes(request.door):
            return Barrier.DOOR
        if not request.info.is_resource:
            return self._url_barrier(request)
        barrier = self._object_barrier(request)
        return None if barrier is not None and is_self_review(request) else barrier

    def _closes(self, door: Door) -> bool:
        return (
            self.read_only
            or (self.no_exec and door in ("exec", "nodeproxy"))
            or (self.no_port_forward and door == "portforward")
            or (self.no_proxy and door in ("proxy", "nodeproxy"))
        )

    def _object_barrier(self, request: PolicyRequest) -> "Barrier | None":
        info = request.info
        if self.read_only and info.verb not in READ_VERBS:
            return Barrier.WRITE
        if self.verbs is not None and info.verb not in self.verbs:
            return Barrier.VERB
        if self.namespaces is not None and not self.namespaces.matches(info.namespace):
            return Barrier.NAMESPACE
        resources = self.resources
        if resources is not None and not resources.cover(info.api_group, info.resource, request.subresource):
            return Barrier.RESOURCE
        if self.names is not None and not self._names_match(self.names, request):
            return Barrier.NAME
        return None

    @staticmethod
    def _names_match(names: NamePatterns, request: PolicyRequest) -> bool:
        name = selected_name(request)
        return bool(name) and names.matches(name)

    def _url_barrier(self, request: PolicyRequest) -> "Barrier | None":
        path = request.info.path
        reads = request.method in READ_METHODS
        if reads and not request.upgrade and _DISCOVERY.fullmatch(path):
            return None
        if self.read_only and not reads:
            return Barrier.WRITE
        if self.verbs is not None and _METHOD_VERBS.get(request.method) not in self.verbs:
            return Barrier.VERB
        if self.urls is not None:
            return None if self.urls.matches(path) else Barrier.URL
        limited = self.namespaces or self.resources or self.names
        return Barrier.URL if limited else None

    def explain(self, barrier: "Barrier", request: PolicyRequest) -> str:
        """Return what is allowed instead, in words that follow `allows`."""
        info = request.info
        match barrier:
            case Barrier.UNCLEAR:
                return f"only paths that can be judged: {request.unclear}"
            case Barrier.DOOR:
                return f"{'reading only, ' if self.read_only else ''}no {_DOORS[request.door]}"
            case Barrier.WRITE:
                return f"reading only, not {_verb(request)}"
            case Barrier.VERB:
                return f"only the verbs {', '.join(sorted(self.verbs or ()))}, not {_verb(request)}"
            case Barrier.NAMESPACE:
                return f"only the namespaces {self.namespaces}, not {_where(info)}"
            case Barrier.RESOURCE:
                return f"only the resources {self.resources}, not {_resource(request)}"
            case Barrier.NAME:
                return f"only the names {self.names}, not {_object(request)}"
            case Barrier.URL:
                urls = f"the URLs {self.urls}" if self.urls else "resources and discovery"
                return f"only {urls}, not {info.path[:64]!a}"


class Barrier(Enum):
    """Which condition stops a request. Words for it are made only where somebody reads them: that takes longer."""

    UNCLEAR = auto()
    DOOR = auto()
    WRITE = auto()
    VERB = auto()
    NAMESPACE = auto()
    RESOURCE = auto()
    NAME = auto()
    URL = auto()


def _where(info: RequestInfo) -> str:
    if info.namespace:
        return ascii(info.namespace[:64])
    if info.verb in ("list", "watch", "deletecollection"):
        return "all of them at once"
    return "what belongs to the whole cluster"


def _verb(request: PolicyRequest) -> str:
    return request.info.verb or request.method.decode("latin-1")[:16]


def _resource(request: PolicyRequest) -> str:
    info = request.info
    group = f".{info.api_group}" if info.api_group else ""
    subresource = f"/{request.subresource}" if request.subresource else ""
    return ascii(f"{info.resource}{group}{subresource}"[:96])


def _object(request: PolicyRequest) -> str:
    name = selected_name(request)
    return ascii(name[:64]) if name else "a whole collection, or an object whose name the path does not say"


# Reading one -----------------------------------------------------------------------------------


def read_scope(section: Section) -> Scope:
    """Return the scope that a section describes with the keys `SCOPE_KEYS`.

    Raises:
        PolicyFault: one of them is wrong.
    """
    return Scope(
        read_only=section.flag("readOnly"),
        no_exec=section.flag("noExec"),
        no_port_forward=section.flag("noPortForward"),
        no_proxy=section.flag("noProxy"),
        verbs=_read_verbs(section),
        namespaces=read_limit(section, "namespaces"),
        resources=_read_resources(section),
        names=read_limit(section, "names"),
        urls=_read_urls(section),
    )


def _read_verbs(section: Section) -> frozenset[str] | None:
    verbs = section.items("verbs", _check_verb)
    return None if verbs is None or "*" in verbs else frozenset(verbs)


def _check_verb(text: str, path: str) -> str:
    if text != "*" and text not in VERBS:
        raise PolicyFault(path, f"{text!r} is none of {', '.join(VERBS)}{nearest(text, VERBS)}")
    return text


def _read_resources(section: Section) -> ResourcePatterns | None:
    resources = section.items("resources", check_resource)
    subresources = section.items("subresources", check_subresource)
    if resources is None and subresources is None:
        return None
    patterns = ResourcePatterns.of(resources, subresources or ())
    return None if patterns.everything else patterns


def _read_urls(section: Section) -> NamePatterns | None:
    # `*` stays a pattern here: to leave the key out may mean none.
    urls = section.items("nonResourceURLs", _check_url)
    return None if urls is None else NamePatterns.of(urls)


def _check_url(text: str, path: str) -> str:
    if not text.startswith("/") and text != "*":
        raise PolicyFault(path, f"{text!r} does not begin with '/'")
    return check_pattern(text, path)
