"""What stands in the columns of each kind, cell by cell as the apiserver prints it."""

from typing import Any

from tests.kubesim import clock
from tests.kubesim.store import Object

Cells = list[Any]


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def _age(obj: Object) -> str:
    return clock.age(obj["metadata"].get("creationTimestamp"))


def _joined(values: dict[str, str] | None) -> str:
    return ",".join(f"{k}={v}" for k, v in sorted((values or {}).items())) or "<none>"


def _selector(obj: Object) -> str:
    selector = obj["spec"].get("selector") or {}
    parts = [f"{k}={v}" for k, v in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or []:
        values = f" ({','.join(rule['values'])})" if rule.get("values") else ""
        parts.append(f"{rule['key']} {rule['operator'].lower()}{values}")
    return ",".join(parts) or "<none>"


def _containers(obj: Object) -> Cells:
    containers = obj["spec"]["template"]["spec"].get("containers", [])
    return [",".join(c["name"] for c in containers), ",".join(c["image"] for c in containers)]


def default_cells(obj: Object) -> Cells:
    return [_name(obj), obj["metadata"].get("creationTimestamp")]


def configmaps_cells(obj: Object) -> Cells:
    return [_name(obj), len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), _age(obj)]


def secrets_cells(obj: Object) -> Cells:
    return [_name(obj), obj.get("type", "Opaque"), len(obj.get("data") or {}), _age(obj)]


def serviceaccounts_cells(obj: Object) -> Cells:
    return [_name(obj), len(obj.get("secrets") or []), _age(obj)]


def namespaces_cells(obj: Object) -> Cells:
    return [_name(obj), obj.get("status", {}).get("phase", ""), _age(obj)]


def endpoints_cells(obj: Object) -> Cells:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    text = ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [_name(obj), text or "<none>", _age(obj)]


def endpointslices_cells(obj: Object) -> Cells:
    ports = ",".join(str(p.get("port", "*")) for p in obj.get("ports") or []) or "<unset>"
    found = [address for endpoint in obj.get("endpoints") or [] for address in endpoint["addresses"]]
    text = ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "")
    return [_name(obj), obj.get("addressType", ""), ports, text or "<unset>", _age(obj)]


def events_cells(obj: Object) -> Cells:
    involved = obj.get("involvedObject", {})
    source = obj.get("source") or {}
    origin = ", ".join(
        filter(None, (source.get("component") or obj.get("reportingComponent"), source.get("host")))
    )
    first, last = (
        obj.get("firstTimestamp") or obj.get("eventTime"),
        obj.get("lastTimestamp") or obj.get("eventTime"),
    )
    reference = f"{involved.get('kind', '').lower()}/{involved.get('name', '')}"
    return [
        clock.age(last), obj.get("type", ""), obj.get("reason", ""), reference, involved.get("fieldPath", ""), origin,
        obj.get("message", "").strip(), clock.age(first), obj.get("count") or 1, _name(obj),
    ]  # fmt: skip


def nodes_cells(obj: Object) -> Cells:
    state = obj.get("status", {})
    ready = next((c["status"] for c in state.get("conditions", []) if c["type"] == "Ready"), "Unknown")
    text = {"True": "Ready", "False": "NotReady"}.get(ready, "Unknown")
    text += ",SchedulingDisabled" if obj["spec"].get("unschedulable") else ""
    prefix = "node-role.kubernetes.io/"
    labels = obj["metadata"].get("labels") or {}
    roles = ",".join(sorted(k.removeprefix(prefix) for k in labels if k.startswith(prefix))) or "<none>"
    addresses = {a["type"]: a["address"] for a in state.get("addresses", [])}
    info = state.get("nodeInfo", {})
    return [
        _name(obj), text, roles, _age(obj), info.get("kubeletVersion", ""), addresses.get("InternalIP", "<none>"),
        addresses.get("ExternalIP", "<none>"), info.get("osImage", "<unknown>"),
        info.get("kernelVersion", "<unknown>"), info.get("containerRuntimeVersion", "<unknown>"),
    ]  # fmt: skip


def pod_reason(obj: Object) -> str:
    """Return the Status column of a pod: its phase, or what a container waits for or ended with."""
    state = obj.get("status", {})
    reason = state.get("reason") or state.get("phase", "Pending")
    running = False
    for container in reversed(state.get("containerStatuses") or []):
        now = container.get("state") or {}
        waiting, ended = now.get("waiting") or {}, now.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended and ended.get("reason"):
            reason = ended["reason"]
        elif ended:
            reason = f"ExitCode:{ended['exitCode']}"
        elif container.get("ready") and "running" in now:
            running = True
    if reason == "Completed" and running:
        reason = "Running"
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(reason)


def _restarts(statuses: list[Object]) -> str:
    count = sum(s.get("restartCount", 0) for s in statuses)
    ends = [s.get("lastState", {}).get("terminated", {}).get("finishedAt") for s in statuses]
    last = max(filter(None, ends), default=None)
    return f"{count} ({clock.age(last)} ago)" if count and last else str(count)


def pods_cells(obj: Object) -> Cells:
    state = obj.get("status", {})
    statuses = state.get("containerStatuses") or []
    ready = sum(1 for s in statuses if s.get("ready") and "running" in (s.get("state") or {}))
    total = len(obj.get("spec", {}).get("containers", []))
    return [
        obj["metadata"].get("name", ""), f"{ready}/{total}", pod_reason(obj), _restarts(statuses), _age(obj),
        state.get("podIP") or "<none>", obj["spec"].get("nodeName") or "<none>",
        state.get("nominatedNodeName") or "<none>", "<none>",
    ]  # fmt: skip


def services_cells(obj: Object) -> Cells:
    spec = obj["spec"]
    ports = [
        f"{p['port']}:{p['nodePort']}/{p['protocol']}"
        if p.get("nodePort")
        else f"{p['port']}/{p['protocol']}"
        for p in spec.get("ports") or []
    ]
    external = ",".join(spec.get("externalIPs") or []) or "<none>"
    if spec["type"] == "LoadBalancer":
        ingress = (obj.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        external = ",".join(i.get("ip") or i.get("hostname", "") for i in ingress) or "<pending>"
    if spec["type"] == "ExternalName":
        external = spec.get("externalName", "")
    return [
        _name(obj), spec["type"], spec.get("clusterIP") or "<none>", external, ",".join(ports) or "<none>", _age(obj),
        _joined(spec.get("selector")),
    ]  # fmt: skip


def controllerrevisions_cells(obj: Object) -> Cells:
    owner = next((o for o in obj["metadata"].get("ownerReferences") or [] if o.get("controller")), None)
    group = owner["apiVersion"].split("/")[0] if owner else ""
    text = f"{owner['kind'].lower()}.{group}/{owner['name']}" if owner else "<none>"
    return [_name(obj), text, obj.get("revision", 0), _age(obj)]


def daemonsets_cells(obj: Object) -> Cells:
    state = obj.get("status", {})
    counts = [
        state.get(f, 0)
        for f in ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled",
                  "numberAvailable")
    ]  # fmt: skip
    nodes = _joined(obj["spec"]["template"]["spec"].get("nodeSelector"))
    return [_name(obj), *counts, nodes, _age(obj), *_containers(obj), _selector(obj)]


def deployments_cells(obj: Object) -> Cells:
    state = obj.get("status", {})
    ready = f"{state.get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"
    counts = [state.get("updatedReplicas", 0), state.get("availableReplicas", 0)]
    return [_name(obj), ready, *counts, _age(obj), *_containers(obj), _selector(obj)]


def replicasets_cells(obj: Object) -> Cells:
    state = obj.get("status", {})
    counts = [obj["spec"].get("replicas", 0), state.get("replicas", 0), state.get("readyReplicas", 0)]
    return [_name(obj), *counts, _age(obj), *_containers(obj), _selector(obj)]


def statefulsets_cells(obj: Object) -> Cells:
    ready = f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 1)}"
    return [_name(obj), ready, _age(obj), *_containers(obj)]


def cronjobs_cells(obj: Object) -> Cells:
    spec, state = obj["spec"], obj.get("status", {})
    last = clock.age(state["lastScheduleTime"]) if state.get("lastScheduleTime") else "<none>"
    containers = spec["jobTemplate"]["spec"]["template"]["spec"].get("containers", [])
    names, images = (",".join(c[k] for c in containers) for k in ("name", "image"))
    zone = spec.get("timeZone", "<none>")
    suspended = bool(spec.get("suspend"))
    active = len(state.get("active") or [])
    return [_name(obj), spec["schedule"], zone, suspended, active, last, _age(obj), names, images, "<none>"]


def jobs_cells(obj: Object) -> Cells:
    spec, state = obj["spec"], obj.get("status", {})
    conditions = {c["type"] for c in state.get("conditions") or [] if c["status"] == "True"}
    text = next((t for t in ("Complete", "Failed", "Suspended") if t in conditions), "Running")
    done = f"{state.get('succeeded', 0)}/{spec.get('completions', 1)}"
    length = ""
    if state.get("startTime"):
        start = clock.parse(state["startTime"])
        end = (
            clock.parse(state["completionTime"]) if state.get("completionTime") else clock.parse(clock.now())
        )
        length = clock.duration(int((end - start).total_seconds()))
    return [_name(obj), text, done, length, _age(obj), *_containers(obj), _selector(obj)]


def leases_cells(obj: Object) -> Cells:
    return [_name(obj), (obj.get("spec") or {}).get("holderIdentity", ""), _age(obj)]


def networkpolicies_cells(obj: Object) -> Cells:
    return [_name(obj), _joined((obj["spec"].get("podSelector") or {}).get("matchLabels")), _age(obj)]


def poddisruptionbudgets_cells(obj: Object) -> Cells:
    spec = obj["spec"]
    bounds = [str(spec.get(f, "N/A")) for f in ("minAvailable", "maxUnavailable")]
    return [_name(obj), *bounds, obj.get("status", {}).get("disruptionsAllowed", 0), _age(obj)]


def _subjects(obj: Object, kind: str) -> str:
    found = [s for s in obj.get("subjects") or [] if s["kind"] == kind]
    return ", ".join(f"{s['namespace']}/{s['name']}" if s.get("namespace") else s["name"] for s in found)


def rolebindings_cells(obj: Object) -> Cells:
    role = f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}"
    return [
        _name(obj),
        role,
        _age(obj),
        *(_subjects(obj, kind) for kind in ("User", "Group", "ServiceAccount")),
    ]


clusterrolebindings_cells = rolebindings_cells


def priorityclasses_cells(obj: Object) -> Cells:
    policy = obj.get("preemptionPolicy", "PreemptLowerPriority")
    return [_name(obj), obj.get("value", 0), bool(obj.get("globalDefault")), _age(obj), policy]


def storageclasses_cells(obj: Object) -> Cells:
    policies = [obj.get("reclaimPolicy", "Delete"), obj.get("volumeBindingMode", "Immediate")]
    return [
        _name(obj),
        obj.get("provisioner", ""),
        *policies,
        bool(obj.get("allowVolumeExpansion")),
        _age(obj),
    ]
