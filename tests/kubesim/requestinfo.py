"""What a request asks for, read from its method, path and query as the apiserver reads them."""

from dataclasses import dataclass
from typing import Final

from tests.kubesim.http import Request

_VERBS: Final = {
    "POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete",
}  # fmt: skip
_STREAMING: Final = ("attach", "exec", "log", "portforward", "proxy")


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A request's attributes, for authorization, audit and dispatch.

    Attributes:
        resource: the plural, "" where the path names no resource.
        rest: the segments behind the subresource, for `proxy`.
    """

    verb: str
    path: str
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    rest: tuple[str, ...] = ()

    @property
    def long_running(self) -> bool:
        return self.verb == "watch" or self.subresource in _STREAMING


def parse_request(request: Request) -> RequestInfo:
    """Return what a request asks for; one that names no resource has only a verb and a path."""
    segments = [part for part in request.segments if part]
    plain = RequestInfo(request.method.lower(), request.path)
    match segments:
        case ["api", version, *rest] if rest:
            group = ""
        case ["apis", group, version, *rest] if rest:
            pass
        case _:
            return plain
    namespace, watching = "", False
    if rest[0] == "watch" and len(rest) > 1:
        watching, rest = True, rest[1:]
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    elif rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    verb = _verb(request, name, watching)
    return RequestInfo(
        verb, request.path, group, version, namespace, rest[0], subresource, name, tuple(rest[3:])
    )


def _verb(request: Request, name: str, watching: bool) -> str:
    verb = _VERBS.get(request.method, request.method.lower())
    if verb == "get" and not name:
        verb = "watch" if watching or request.flag("watch") else "list"
    elif verb == "get" and (watching or request.flag("watch")):
        verb = "watch"
    elif verb == "delete" and not name:
        verb = "deletecollection"
    return verb
