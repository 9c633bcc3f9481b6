"""What a fresh cluster holds: namespaces, a node, roles, and sample pods."""

from typing import Any, Final

from tests.kubesim import clock
from tests.kubesim.apply import Manager
from tests.kubesim.kubelet import NODE, NODE_IP
from tests.kubesim.registry import Registry, WriteOptions
from tests.kubesim.resources import resource
from tests.kubesim.store import Object

_APISERVER: Final = WriteOptions(Manager("kube-apiserver"))
_RBAC: Final = "rbac.authorization.k8s.io"
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_NAMESPACED: Final = [
    "configmaps", "endpoints", "events", "limitranges", "persistentvolumeclaims", "pods", "pods/log", "pods/status",
    "resourcequotas", "serviceaccounts", "services", "services/status", "replicationcontrollers",
]  # fmt: skip
_STREAMS: Final = ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "pods/ephemeralcontainers",
                   "services/proxy", "pods/eviction"]  # fmt: skip
_GROUPS: Final = ["apps", "autoscaling", "batch", "discovery.k8s.io", "networking.k8s.io", "policy"]


def install(registry: Registry) -> None:
    """Create everything that no controller has to see being created."""
    for name in ("default", "kube-node-lease", "kube-public", "kube-system", "cluster-tunnel"):
        _create(registry, "namespaces", {"metadata": {"name": name}})
    for role in _roles():
        _create(registry, f"clusterroles.{_RBAC}", role)
    for name, role_name, kind, subject in (
        ("cluster-admin", "cluster-admin", "Group", "system:masters"),
        ("system:basic-user", "system:basic-user", "Group", "system:authenticated"),
        ("system:discovery", "system:discovery", "Group", "system:authenticated"),
        ("system:public-info-viewer", "system:public-info-viewer", "Group", "system:authenticated"),
        (
            "system:public-info-viewer-anonymous",
            "system:public-info-viewer",
            "Group",
            "system:unauthenticated",
        ),
        ("viewers", "view", "Group", "viewers"),
    ):
        _bind(registry, name, role_name, {"kind": kind, "name": subject, "apiGroup": _RBAC})
    agent = {"kind": "ServiceAccount", "name": "cluster-tunnel-agent", "namespace": "cluster-tunnel"}
    _bind(registry, "cluster-tunnel-agent", "cluster-tunnel-agent", agent)
    _node(registry)


def _create(registry: Registry, name: str, obj: Object, namespace: str = "") -> Object:
    return registry.create(resource(name), namespace, obj, _APISERVER)


def _bind(registry: Registry, name: str, role: str, subject: dict[str, str]) -> None:
    reference = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    _create(registry, f"clusterrolebindings.{_RBAC}", binding)


def _roles() -> list[Object]:
    def role(name: str, *rules: dict[str, Any]) -> Object:
        return {"metadata": {"name": name}, "rules": list(rules)}

    def rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict[str, Any]:
        return {"apiGroups": groups, "resources": resources, "verbs": verbs}

    reading = (rule([""], [*_NAMESPACED, "namespaces"], _READ), rule(_GROUPS, ["*"], _READ))
    writing = (rule([""], [*_NAMESPACED, *_STREAMS, "secrets"], _WRITE), rule(_GROUPS, ["*"], _WRITE))
    roles = rule([_RBAC], ["roles", "rolebindings"], _WRITE)
    paths = ["/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz",
             "/version", "/version/"]  # fmt: skip
    self_reviews = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]
    return [
        role("cluster-admin", rule(["*"], ["*"], ["*"]), {"nonResourceURLs": ["*"], "verbs": ["*"]}),
        role("admin", *reading, *writing, roles),
        role("edit", *reading, *writing),
        role("view", *reading),
        role(
            "system:basic-user",
            rule(["authorization.k8s.io"], self_reviews, ["create"]),
            rule(["authentication.k8s.io"], ["selfsubjectreviews"], ["create"]),
        ),
        role("system:discovery", {"nonResourceURLs": paths, "verbs": ["get"]}),
        role(
            "system:public-info-viewer",
            {"nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"], "verbs": ["get"]},
        ),
        role(
            "cluster-tunnel-agent",
            rule([""], ["users", "groups", "serviceaccounts"], ["impersonate"]),
            rule(["authentication.k8s.io"], ["uids", "userextras/*"], ["impersonate"]),
            rule([""], ["serviceaccounts/token"], ["create"]),
            {"nonResourceURLs": ["/kubesim/*"], "verbs": ["*"]},
        ),
    ]


def _node(registry: Registry) -> None:
    labels = {
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": NODE, "kubernetes.io/os": "linux",
    }  # fmt: skip
    node = _create(registry, "nodes", {"metadata": {"name": NODE, "labels": labels}, "spec": {}})
    now = clock.now()
    conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    sizes = {"cpu": "2", "ephemeral-storage": "100Gi", "memory": "8Gi", "pods": "110"}
    status = {
        "capacity": sizes, "allocatable": sizes,
        "conditions": [
            {"type": kind, "status": value, "lastHeartbeatTime": now, "lastTransitionTime": now, "reason": reason,
             "message": message}
            for kind, value, reason, message in conditions
        ],
        "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": NODE}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": "0", "systemUUID": "0", "bootID": "0", "kernelVersion": "6.1.0", "osImage": "kubesim",
            "containerRuntimeVersion": "kubesim://1", "kubeletVersion": "v1.34.4", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64",
        },
    }  # fmt: skip
    registry.set_status(resource("nodes"), node, status)


def settle(registry: Registry, *, samples: bool) -> None:
    """Create what controllers and the kubelet act on; they must be running."""
    account = {"metadata": {"name": "cluster-tunnel-agent"}}
    _create(registry, "serviceaccounts", account, "cluster-tunnel")
    spec = {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    _create(
        registry, "services", {"metadata": {"name": "kubernetes", "labels": labels}, "spec": spec}, "default"
    )
    address = [
        {"addresses": [{"ip": NODE_IP}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
    ]
    _create(registry, "endpoints", {"metadata": {"name": "kubernetes"}, "subsets": address}, "default")
    if not samples:
        return
    _create(registry, "deployments.apps", _web(), "default")
    web = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    _create(registry, "services", {"metadata": {"name": "web"}, "spec": web}, "default")
    ticking = 'i=0; while :; do echo "tick $i"; i=$((i+1)); sleep 0.5; done'
    _create(registry, "pods", _pod("ticker", ["sh", "-c", ticking]), "default")
    _create(registry, "pods", _pod("shell", None), "default")


def _pod(name: str, command: list[str] | None) -> Object:
    container: Object = {"name": name, "image": "localhost/busybox:1"}
    if command is None:
        container["image"] = "localhost/pause:1"
    else:
        container["command"] = command
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}
    return {"metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


def _web() -> Object:
    container: Object = {
        "name": "web",
        "image": "localhost/web:1",
        "ports": [{"name": "http", "containerPort": 8080}],
    }
    container["readinessProbe"] = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    return {"metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}
