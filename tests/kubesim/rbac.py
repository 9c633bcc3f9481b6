"""Who may do what: the RBAC objects in the store, evaluated as the apiserver evaluates them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.kubesim import status
from tests.kubesim.http import User
from tests.kubesim.requestinfo import RequestInfo
from tests.kubesim.resources import resource
from tests.kubesim.store import Object, Store

_GROUP = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked: a verb on a resource, or on a path where `resource` is empty."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def attributes_of(info: RequestInfo) -> Attributes:
    """Return what a request's authorization is decided on."""
    if not info.resource:
        return Attributes(info.verb, path=info.path)
    return Attributes(info.verb, info.group, info.resource, info.subresource, info.namespace, info.name)


class Authorizer:
    """Decides by roles and bindings; `system:masters` may do everything."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def decide(self, user: User, asked: Attributes) -> tuple[bool, str]:
        """Return whether `user` may, and why."""
        if "system:masters" in user.groups:
            return True, ""
        for rule, source in self.rules(user, asked.namespace):
            if _covers(rule, asked):
                return True, f"RBAC: allowed by {source}"
        return False, ""

    def require(self, user: User, asked: Attributes) -> None:
        """Pass where `user` may.

        Raises:
            ApiError: 403 in the apiserver's words.
        """
        if self.decide(user, asked)[0]:
            return
        if not asked.resource:
            message = f'forbidden: User "{user.name}" cannot {asked.verb} path "{asked.path}"'
            raise status.ApiError(403, "Forbidden", message, {})
        where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
        why = (
            f'User "{user.name}" cannot {asked.verb} resource "{asked.full_resource}" in API group '
            f'"{asked.group}" {where}'
        )
        raise status.forbidden(asked.resource, asked.group, asked.name, why)

    def rules(self, user: User, namespace: str) -> Iterator[tuple[dict[str, Any], str]]:
        """Iterate over the rules that hold for a user in a namespace ("": in the whole cluster), and their binding."""
        for binding in self._store.list(resource(f"clusterrolebindings.{_GROUP}")):
            if _binds(binding, user, ""):
                yield from self._bound(binding, "", f'ClusterRoleBinding "{binding["metadata"]["name"]}"')
        if not namespace:
            return
        for binding in self._store.list(resource(f"rolebindings.{_GROUP}"), namespace):
            if _binds(binding, user, namespace):
                label = f'RoleBinding "{binding["metadata"]["name"]}/{namespace}"'
                yield from self._bound(binding, namespace, label)

    def _bound(self, binding: Object, namespace: str, label: str) -> Iterator[tuple[dict[str, Any], str]]:
        reference = binding["roleRef"]
        kind, name = reference["kind"], reference["name"]
        table = resource(f"{'clusterroles' if kind == 'ClusterRole' else 'roles'}.{_GROUP}")
        role = self._store.peek(table, namespace if kind == "Role" else "", name)
        subjects = ", ".join(f'{s["kind"]} "{s["name"]}"' for s in binding.get("subjects") or [])
        for rule in (role or {}).get("rules") or []:
            yield rule, f'{label} of {kind} "{name}" to {subjects}'


def _binds(binding: Object, user: User, namespace: str) -> bool:
    for subject in binding.get("subjects") or []:
        kind, name = subject["kind"], subject["name"]
        if kind == "User" and name == user.name:
            return True
        if kind == "Group" and name in user.groups:
            return True
        account = f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
        if kind == "ServiceAccount" and account == user.name:
            return True
    return False


def _covers(rule: dict[str, Any], asked: Attributes) -> bool:
    if not _has(rule.get("verbs"), asked.verb):
        return False
    if not asked.resource:
        return any(_path_matches(pattern, asked.path) for pattern in rule.get("nonResourceURLs") or [])
    names = rule.get("resourceNames") or []
    resources = rule.get("resources") or []
    named = _has(resources, asked.full_resource) or f"*/{asked.subresource}" in resources
    return named and _has(rule.get("apiGroups"), asked.group) and (not names or asked.name in names)


def _has(values: list[str] | None, value: str) -> bool:
    return values is not None and ("*" in values or value in values)


def _path_matches(pattern: str, path: str) -> bool:
    return path.startswith(pattern[:-1]) if pattern.endswith("*") else path == pattern
