"""What the apiserver fills in: defaults per kind, and the checks without which kubectl's own tests make no sense."""

import base64
import secrets
from collections.abc import Callable
from typing import Any, Final

from tests.kubesim import status
from tests.kubesim.selectors import matches
from tests.kubesim.store import Object

Cause = tuple[str, str, str]

_CONTAINER: Final = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}


def fill(kind: str, obj: Object) -> None:
    """Set what the writer left out, in place."""
    filler = _FILLERS.get(kind)
    if filler is not None:
        filler(obj)


def _default(target: Object, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) is None:
            target[key] = value


def pod_spec(spec: Object) -> None:
    """Set the defaults of a pod's spec, in a pod or in a template."""
    _default(
        spec, restartPolicy="Always", terminationGracePeriodSeconds=30, dnsPolicy="ClusterFirst",
        securityContext={}, schedulerName="default-scheduler",
    )  # fmt: skip
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or []:
            _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "projected", "downwardAPI"):
            if isinstance(volume.get(source), dict):
                _default(volume[source], defaultMode=420)


def _container(container: Object) -> None:
    _default(container, **{k: v.copy() if isinstance(v, dict) else v for k, v in _CONTAINER.items()})
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    _default(container, imagePullPolicy="Always" if tag in ("", "latest") else "IfNotPresent")
    for port in container.get("ports") or []:
        _default(port, protocol="TCP")
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if container.get(name):
            _default(
                container[name], timeoutSeconds=1, periodSeconds=10, successThreshold=1, failureThreshold=3
            )
    for variable in container.get("env") or []:
        field = (variable.get("valueFrom") or {}).get("fieldRef")
        if field:
            _default(field, apiVersion="v1")


def _pod(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    pod_spec(spec)
    _default(spec, enableServiceLinks=True)


def admit(kind: str, obj: Object) -> None:
    """Add to a new object what admission adds; nobody owns these fields."""
    if kind != "Pod":
        return
    spec = obj["spec"]
    _default(spec, serviceAccountName="default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    _mount_account(spec)
    _default(spec, priority=0, preemptionPolicy="PreemptLowerPriority")
    if not spec.get("tolerations"):
        spec["tolerations"] = [
            {
                "key": f"node.kubernetes.io/{key}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for key in ("not-ready", "unreachable")
        ]


_ACCOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"


def _mount_account(spec: Object) -> None:
    """Add the service account's volume to a new pod, as admission does."""
    mounted = any(v["name"].startswith("kube-api-access-") for v in spec.get("volumes") or [])
    if mounted or spec.get("automountServiceAccountToken") is False:
        return
    letters = "bcdfghjklmnpqrstvwxz2456789"
    name = "kube-api-access-" + "".join(secrets.choice(letters) for _ in range(5))
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    volume = {"name": name, "projected": {"sources": sources, "defaultMode": 420}}
    spec["volumes"] = [*(spec.get("volumes") or []), volume]
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        mount = {"name": name, "readOnly": True, "mountPath": _ACCOUNT_PATH}
        container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]


def _template(obj: Object) -> Object:
    spec = obj.setdefault("spec", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    pod_spec(template.setdefault("spec", {}))
    return spec  # type: ignore[no-any-return]


def _deployment(obj: Object) -> None:
    spec = _template(obj)
    _default(spec, replicas=1, strategy={}, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = spec["strategy"]
    _default(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _default(strategy, rollingUpdate={})
        _default(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")


def _replica_set(obj: Object) -> None:
    _default(_template(obj), replicas=1)


def _daemon_set(obj: Object) -> None:
    spec = _template(obj)
    _default(spec, updateStrategy={"type": "RollingUpdate"}, revisionHistoryLimit=10)
    if spec["updateStrategy"].get("type") == "RollingUpdate":
        _default(spec["updateStrategy"], rollingUpdate={"maxSurge": 0, "maxUnavailable": 1})


def _stateful_set(obj: Object) -> None:
    spec = _template(obj)
    _default(
        spec, replicas=1, podManagementPolicy="OrderedReady", revisionHistoryLimit=10,
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Retain", "whenScaled": "Retain"},
    )  # fmt: skip


def _job(obj: Object) -> None:
    spec = _template(obj)
    _default(spec, parallelism=1, completions=1, backoffLimit=6, completionMode="NonIndexed", suspend=False)
    _default(spec, manualSelector=False, podReplacementPolicy="TerminatingOrFailed")
    uid = obj["metadata"].get("uid")
    if uid and not spec.get("selector"):
        labels = {
            "batch.kubernetes.io/controller-uid": uid,
            "batch.kubernetes.io/job-name": obj["metadata"]["name"],
        }
        old = {"controller-uid": uid, "job-name": obj["metadata"]["name"]}
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
        spec["template"]["metadata"].setdefault("labels", {}).update(labels | old)


def _service(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    _default(spec, type="ClusterIP", sessionAffinity="None")
    if spec["type"] != "ExternalName":
        _default(spec, clusterIP=f"10.96.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}")
        _default(spec, clusterIPs=[spec["clusterIP"]], ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack",
                 internalTrafficPolicy="Cluster")  # fmt: skip
    for port in spec.get("ports") or []:
        _default(port, protocol="TCP", targetPort=port.get("port"))
        if spec["type"] in ("NodePort", "LoadBalancer"):
            _default(port, nodePort=30000 + secrets.randbelow(2768))
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _default(spec, externalTrafficPolicy="Cluster")
    _default(obj, status={"loadBalancer": {}})


def _secret(obj: Object) -> None:
    _default(obj, type="Opaque")
    plain = obj.pop("stringData", None) or {}
    if plain:
        obj["data"] = (obj.get("data") or {}) | {
            k: base64.b64encode(v.encode()).decode() for k, v in plain.items()
        }


def _namespace(obj: Object) -> None:
    obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"].get("name", "")
    _default(obj, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"})


def _binding(obj: Object) -> None:
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in ("User", "Group"):
            _default(subject, apiGroup="rbac.authorization.k8s.io")


_FILLERS: Final[dict[str, Callable[[Object], None]]] = {
    "Pod": _pod, "Deployment": _deployment, "ReplicaSet": _replica_set, "DaemonSet": _daemon_set,
    "StatefulSet": _stateful_set, "Job": _job, "Service": _service, "Secret": _secret, "Namespace": _namespace,
    "RoleBinding": _binding, "ClusterRoleBinding": _binding,
}  # fmt: skip


def check(kind: str, group: str, obj: Object, old: Object | None) -> None:
    """Refuse what no apiserver would store.

    Raises:
        ApiError: 422 with one cause per field.
    """
    causes: list[Cause] = []
    if kind == "Pod":
        causes = _pod_causes(obj.get("spec") or {}, "spec")
        causes += _immutable_pod(obj, old) if old else []
    elif kind in ("Deployment", "ReplicaSet", "DaemonSet", "StatefulSet"):
        causes = _workload_causes(obj, old)
    elif kind == "Service" and not (obj["spec"].get("ports") or obj["spec"].get("clusterIP") == "None"):
        causes = [("spec.ports", "FieldValueRequired", "Required value")]
    elif (
        kind in ("ConfigMap", "Secret")
        and old
        and old.get("immutable")
        and obj.get("data") != old.get("data")
    ):
        causes = [("data", "FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set")]
    elif kind == "Lease":
        causes = _lease_causes(obj.get("spec") or {})
    if causes:
        raise status.invalid(kind, group, obj["metadata"].get("name", ""), causes)


def _pod_causes(spec: Object, path: str) -> list[Cause]:
    required = ("FieldValueRequired", "Required value")
    if not spec.get("containers"):
        return [(f"{path}.containers", *required)]
    causes: list[Cause] = []
    for index, container in enumerate(spec["containers"]):
        causes += [
            (f"{path}.containers[{index}].{f}", *required) for f in ("name", "image") if not container.get(f)
        ]
    return causes


def _immutable_pod(obj: Object, old: Object) -> list[Cause]:
    def fixed(pod: Object) -> Object:
        spec = {k: v for k, v in pod["spec"].items() if k not in _MUTABLE}
        for field in ("containers", "initContainers"):
            spec[field] = [
                {k: v for k, v in c.items() if k not in ("image", "resources")}
                for c in pod["spec"].get(field) or []
            ]
        return spec

    if fixed(obj) == fixed(old):
        return []
    message = (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
        " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    return [("spec", "FieldValueForbidden", message)]


_MUTABLE: Final = frozenset(
    {"containers", "initContainers", "ephemeralContainers", "activeDeadlineSeconds", "tolerations", "nodeName",
     "terminationGracePeriodSeconds"}
)  # fmt: skip


def _workload_causes(obj: Object, old: Object | None) -> list[Cause]:
    spec = obj["spec"]
    causes = _pod_causes(spec["template"]["spec"], "spec.template.spec")
    if not spec.get("selector"):
        causes.insert(0, ("spec.selector", "FieldValueRequired", "Required value"))
    elif old and old["spec"].get("selector") != spec["selector"]:
        causes.append(("spec.selector", "FieldValueInvalid", "Invalid value: field is immutable"))
    else:
        labels = spec["template"]["metadata"].get("labels") or {}
        if not matches(spec["selector"], labels):
            text = "Invalid value: `selector` does not match template `labels`"
            causes.append(("spec.template.metadata.labels", "FieldValueInvalid", text))
    if isinstance(spec.get("replicas"), int) and spec["replicas"] < 0:
        text = f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
        causes.append(("spec.replicas", "FieldValueInvalid", text))
    return causes


def _lease_causes(spec: Object) -> list[Cause]:
    causes: list[Cause] = []
    for field, least in (("leaseDurationSeconds", 1), ("leaseTransitions", 0)):
        value = spec.get(field)
        if value is not None and value < least:
            bound = "greater than 0" if least else "greater than or equal to 0"
            causes.append((f"spec.{field}", "FieldValueInvalid", f"Invalid value: {value}: must be {bound}"))
    return causes
