"""Which resources the API has: the one table that discovery, routing and OpenAPI are made from."""

from dataclasses import dataclass
from functools import cache
from typing import Final

ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY: Final = ("create",)


@dataclass(frozen=True, slots=True)
class Subresource:
    """Something below an object, such as `pods/log`."""

    name: str
    kind: str
    verbs: tuple[str, ...] = ("get", "patch", "update")
    group: str = ""
    version: str = "v1"


@dataclass(frozen=True, slots=True)
class Resource:
    """A row of the API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def has_status(self) -> bool:
        """Whether `status` can only be written through its own subresource."""
        return any(sub.name == "status" for sub in self.subresources)

    @property
    def stored(self) -> bool:
        """Whether objects of it are kept; reviews are only answered."""
        return "get" in self.verbs

    def subresource(self, name: str) -> Subresource | None:
        return next((sub for sub in self.subresources if sub.name == name), None)


def _status(kind: str) -> Subresource:
    return Subresource("status", kind)


_SCALE: Final = Subresource("scale", "Scale", group="autoscaling")
_CONNECT: Final = ("create", "get")
_ANY_METHOD: Final = ("create", "delete", "get", "patch", "update")
_POD_SUBRESOURCES: Final = (
    Subresource("attach", "PodAttachOptions", _CONNECT),
    Subresource("binding", "Binding", CREATE_ONLY),
    Subresource("ephemeralcontainers", "Pod"),
    Subresource("eviction", "Eviction", CREATE_ONLY, group="policy"),
    Subresource("exec", "PodExecOptions", _CONNECT),
    Subresource("log", "Pod", ("get",)),
    Subresource("portforward", "PodPortForwardOptions", _CONNECT),
    Subresource("proxy", "PodProxyOptions", _ANY_METHOD),
    Subresource("resize", "Pod"),
    Subresource("status", "Pod"),
)
_TOKEN: Final = Subresource("token", "TokenRequest", CREATE_ONLY, group="authentication.k8s.io")


def _core() -> list[Resource]:
    def row(plural: str, kind: str, short: str = "", **more: object) -> Resource:
        return Resource("", "v1", plural, kind, short=tuple(short.split()), **more)  # type: ignore[arg-type]

    no_collection = tuple(v for v in ALL_VERBS if v != "deletecollection")
    service = (Subresource("proxy", "ServiceProxyOptions", _ANY_METHOD), _status("Service"))
    node = (Subresource("proxy", "NodeProxyOptions", _ANY_METHOD), _status("Node"))
    return [
        row("bindings", "Binding", verbs=CREATE_ONLY),
        row("configmaps", "ConfigMap", "cm"),
        row("endpoints", "Endpoints", "ep"),
        row("events", "Event", "ev"),
        row("limitranges", "LimitRange", "limits"),
        row("namespaces", "Namespace", "ns", namespaced=False, verbs=no_collection,
            subresources=(Subresource("finalize", "Namespace", ("update",)), _status("Namespace"))),
        row("nodes", "Node", "no", namespaced=False, subresources=node),
        row("persistentvolumeclaims", "PersistentVolumeClaim", "pvc",
            subresources=(_status("PersistentVolumeClaim"),)),
        row("pods", "Pod", "po", categories=("all",), subresources=_POD_SUBRESOURCES),
        row("resourcequotas", "ResourceQuota", "quota", subresources=(_status("ResourceQuota"),)),
        row("secrets", "Secret"),
        row("serviceaccounts", "ServiceAccount", "sa", subresources=(_TOKEN,)),
        row("services", "Service", "svc", categories=("all",), subresources=service),
    ]  # fmt: skip


def _workloads() -> list[Resource]:
    def row(group: str, plural: str, kind: str, short: str, *subresources: Subresource) -> Resource:
        names = tuple(short.split())
        return Resource(group, "v1", plural, kind, True, names, ("all",), subresources=subresources)

    return [
        Resource("apps", "v1", "controllerrevisions", "ControllerRevision"),
        row("apps", "daemonsets", "DaemonSet", "ds", _status("DaemonSet")),
        row("apps", "deployments", "Deployment", "deploy", _SCALE, _status("Deployment")),
        row("apps", "replicasets", "ReplicaSet", "rs", _SCALE, _status("ReplicaSet")),
        row("apps", "statefulsets", "StatefulSet", "sts", _SCALE, _status("StatefulSet")),
        row("batch", "cronjobs", "CronJob", "cj", _status("CronJob")),
        row("batch", "jobs", "Job", "", _status("Job")),
    ]


def _reviews() -> list[Resource]:
    def row(group: str, plural: str, kind: str, namespaced: bool = False) -> Resource:
        return Resource(f"{group}.k8s.io", "v1", plural, kind, namespaced, verbs=CREATE_ONLY)

    return [
        row("authentication", "selfsubjectreviews", "SelfSubjectReview"),
        row("authentication", "tokenreviews", "TokenReview"),
        row("authorization", "localsubjectaccessreviews", "LocalSubjectAccessReview", True),
        row("authorization", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        row("authorization", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        row("authorization", "subjectaccessreviews", "SubjectAccessReview"),
    ]


def _others() -> list[Resource]:
    rbac = "rbac.authorization.k8s.io"
    ingress = (_status("Ingress"),)
    budget = (_status("PodDisruptionBudget"),)
    return [
        Resource("coordination.k8s.io", "v1", "leases", "Lease"),
        Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice"),
        Resource("networking.k8s.io", "v1", "ingresses", "Ingress", short=("ing",), subresources=ingress),
        Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", short=("netpol",)),
        Resource(
            "policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), subresources=budget
        ),
        Resource(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        Resource(rbac, "v1", "clusterroles", "ClusterRole", namespaced=False),
        Resource(rbac, "v1", "rolebindings", "RoleBinding"),
        Resource(rbac, "v1", "roles", "Role"),
        Resource(
            "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", namespaced=False, short=("pc",)
        ),
        Resource("storage.k8s.io", "v1", "storageclasses", "StorageClass", namespaced=False, short=("sc",)),
    ]


RESOURCES: Final = tuple([*_core(), *_workloads(), *_reviews(), *_others()])


@cache
def _by_name() -> dict[tuple[str, str, str], Resource]:
    return {(r.group, r.version, r.plural): r for r in RESOURCES}


def find_resource(group: str, version: str, plural: str) -> Resource | None:
    """Return the row of the table, or None."""
    return _by_name().get((group, version, plural))


def resource(name: str) -> Resource:
    """Return the row named like `pods` or `deployments.apps`; only for names that the table has."""
    plural, _, group = name.partition(".")
    return next(r for r in RESOURCES if r.plural == plural and r.group == group)


def groups() -> list[str]:
    """Return the named groups in the order of the table's first mention."""
    return list(dict.fromkeys(r.group for r in RESOURCES if r.group))
