"""The node: gives pods a sandbox, runs their containers as real processes and reports their state."""

import asyncio
import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from tests.kubesim import clock, images, probing
from tests.kubesim.authentication import ServiceAccountTokens
from tests.kubesim.containers import CommandNotStarted, PodName
from tests.kubesim.events import Events
from tests.kubesim.registry import CONTROLLER, Registry
from tests.kubesim.resources import resource
from tests.kubesim.runtime import ContainerRun, Runtime
from tests.kubesim.store import Change, Object, name_of, namespace_of

NODE: Final = "kubesim"
NODE_IP: Final = "10.244.0.1"
BACKOFF_SECONDS: Final = 0.5
"""Before a container's first restart; doubles each time up to `BACKOFF_MOST` (the kubelet's are 10 s and 5 min)."""
BACKOFF_MOST: Final = 10.0

_PODS = resource("pods")


@dataclass(slots=True)
class Slot:
    """What the kubelet knows of one container."""

    spec: Object
    run: ContainerRun | None = None
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    ready: bool = False


class PodWorker:
    """Lives as long as one pod does."""

    def __init__(self, kubelet: "Kubelet", pod: Object) -> None:
        self._kubelet = kubelet
        self.name = PodName(namespace_of(pod), name_of(pod))
        self.uid = pod["metadata"]["uid"]
        self._ip = kubelet.next_ip()
        self._started = clock.now()
        self._slots: dict[str, Slot] = {}
        self._deleted = asyncio.Event()
        self.changed = asyncio.Event()
        self._phase = "Pending"

    @property
    def pod(self) -> Object | None:
        """The pod as it is stored now; None once it is gone."""
        found = self._kubelet.registry.store.peek(_PODS, self.name.namespace, self.name.name)
        return found if found and found["metadata"]["uid"] == self.uid else None

    def update(self, pod: Object | None) -> None:
        """Note that the pod changed, or is gone (None)."""
        if pod is None or pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        self.changed.set()

    async def run(self) -> None:
        """Run the pod until it is deleted; then it is gone from the store as well."""
        pod = self.pod
        if pod is None:
            return
        life = asyncio.ensure_future(self._live(pod))
        deleted = asyncio.ensure_future(self._deleted.wait())
        try:
            await asyncio.wait({life, deleted}, return_when=asyncio.FIRST_COMPLETED)
            if life.done():
                life.result()
            await deleted
            await self._stop(life)
        finally:
            for task in (life, deleted):
                task.cancel()
            await asyncio.gather(life, deleted, return_exceptions=True)
            self._kubelet.runtime.remove_pod(self.name)

    async def _stop(self, life: "asyncio.Future[None]") -> None:
        """Stop the containers within the grace and remove the pod."""
        pod = self.pod
        if pod is not None:
            grace = float(pod["metadata"].get("deletionGracePeriodSeconds", 0))
            for slot in self._slots.values():
                if slot.run and slot.run.exit_code is None:
                    self._kubelet.events.record(
                        pod, "Normal", "Killing", f"Stopping container {slot.spec['name']}"
                    )
                    break
            await self._kubelet.runtime.stop(self.name, grace)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        if self.pod is not None:
            self._kubelet.registry.delete(_PODS, self.name.namespace, self.name.name, grace=0)

    async def _live(self, pod: Object) -> None:
        self._kubelet.events.record(
            pod,
            "Normal",
            "Scheduled",
            f"Successfully assigned {self.name} to {NODE}",
            source="default-scheduler",
        )
        default = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
        first = default or pod["spec"]["containers"][0]["name"]
        for spec in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
            self._slots[spec["name"]] = Slot(spec)
        self._report()
        await self._kubelet.runtime.add_pod(self.name, self.uid, first, self._account_files(pod))
        for spec in pod["spec"].get("initContainers") or []:
            if not await self._run_to_end(spec):
                return
        async with asyncio.TaskGroup() as group:
            mains = [group.create_task(self._keep_running(spec)) for spec in pod["spec"]["containers"]]
            helpers = group.create_task(self._ephemeral(group))
            await asyncio.wait(mains)
            self._phase = "Failed" if any(not task.result() for task in mains) else "Succeeded"
            self._report()
            helpers.cancel()

    def _account_files(self, pod: Object) -> dict[str, str]:
        """Return the service account's token, authority and namespace as they are mounted into containers."""
        registry, namespace = self._kubelet.registry, self.name.namespace
        account = pod["spec"].get("serviceAccountName", "default")
        found = registry.store.peek(resource("serviceaccounts"), namespace, account)
        config = registry.store.peek(resource("configmaps"), namespace, "kube-root-ca.crt")
        if found is None or config is None or pod["spec"].get("automountServiceAccountToken") is False:
            return {}
        token, _ = self._kubelet.accounts.issue(namespace, account, found["metadata"]["uid"], [], 3607)
        texts = {"token": token, "namespace": namespace, "ca.crt": config["data"]["ca.crt"]}
        # /var/run is a link to /run wherever the host is not very old.
        return {f"run/secrets/kubernetes.io/serviceaccount/{name}": text for name, text in texts.items()}

    async def _run_to_end(self, spec: Object) -> bool:
        """Run an init container until it succeeds; false where it failed for good."""
        slot = self._slots[spec["name"]]
        while True:
            code = await self._run_once(slot)
            if code == 0:
                return True
            if (self.pod or {"spec": {}})["spec"].get("restartPolicy") == "Never":
                self._phase = "Failed"
                self._report()
                return False
            await self._back_off(slot)

    async def _keep_running(self, spec: Object) -> bool:
        """Run a main container, again and again where the pod says so; return whether it ended well."""
        slot = self._slots[spec["name"]]
        policy = (self.pod or {"spec": {}})["spec"].get("restartPolicy", "Always")
        while True:
            code = await self._run_once(slot)
            if policy == "Never" or (policy == "OnFailure" and code == 0):
                return code == 0
            await self._back_off(slot)

    async def _back_off(self, slot: Slot) -> None:
        ended = slot.state
        if "terminated" in ended:
            slot.last = ended
        wait = min(BACKOFF_MOST, BACKOFF_SECONDS * 2**slot.restarts)
        if slot.restarts and "terminated" in ended:
            text = (
                f"back-off {wait:.0f}s restarting failed container={slot.spec['name']} pod={self.name.name}"
            )
            slot.state = {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
            self._report()
            pod = self.pod
            if pod is not None:
                message = f"Back-off restarting failed container {slot.spec['name']} in pod {self.name.name}"
                self._kubelet.events.record(pod, "Warning", "BackOff", message)
        await asyncio.sleep(wait)
        if "terminated" in ended:
            slot.restarts += 1

    async def _ephemeral(self, group: asyncio.TaskGroup) -> None:
        """Start ephemeral containers as they are added."""
        while True:
            pod = self.pod
            for spec in (pod or {"spec": {}})["spec"].get("ephemeralContainers") or []:
                if spec["name"] not in self._slots:
                    slot = self._slots[spec["name"]] = Slot(spec)
                    group.create_task(self._run_once(slot))
            self.changed.clear()
            await self.changed.wait()

    async def _run_once(self, slot: Slot) -> int:
        """Run a container once; return its exit code, 128 where it could not start."""
        pod, spec = self.pod, slot.spec
        if pod is None:
            return 1
        env = images.environment(pod, spec, self._kubelet.path_for(spec["image"]), self._lookup)
        try:
            argv = images.command_of(spec, env)
        except images.CannotPull as error:
            self._waiting(pod, slot, "ErrImagePull", str(error))
            return 128
        self._pulled(pod, spec)
        cwd = spec.get("workingDir") or "/"
        stdin, tty = bool(spec.get("stdin")), bool(spec.get("tty"))
        try:
            runtime = self._kubelet.runtime
            slot.run = await runtime.start(self.name, spec["name"], argv, env, cwd, stdin=stdin, tty=tty)
            slot.run.stdin_once = bool(spec.get("stdinOnce"))
        except CommandNotStarted as error:
            text = f"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: {error}: unknown"
            self._ended(slot, 128, "StartError", clock.now(), text)
            self._kubelet.events.record(pod, "Warning", "Failed", f"Error: {text}")
            return 128
        self._kubelet.events.record(pod, "Normal", "Started", f"Started container {spec['name']}")
        slot.state = {"running": {"startedAt": slot.run.started}}
        slot.ready = not spec.get("readinessProbe")
        self._phase = "Running" if self._mains_begun() else self._phase
        self._report()
        checker = asyncio.ensure_future(self._check_ready(slot))
        try:
            code = await slot.run.watch()
        finally:
            checker.cancel()
            await asyncio.gather(checker, return_exceptions=True)
        self._ended(slot, code, "Completed" if code == 0 else "Error", slot.run.started)
        return code

    def _mains_begun(self) -> bool:
        mains = (self.pod or {"spec": {"containers": []}})["spec"]["containers"]
        return all(c["name"] in self._slots and self._slots[c["name"]].run for c in mains)

    async def _check_ready(self, slot: Slot) -> None:
        probe = slot.spec.get("readinessProbe")
        while probe:
            ready = await probing.passes(probe, self.name, slot.spec, self._kubelet.runtime)
            if ready != slot.ready:
                slot.ready = ready
                self._report()
            await asyncio.sleep(min(1.0, probe.get("periodSeconds", 10)))

    def _waiting(self, pod: Object, slot: Slot, reason: str, message: str) -> None:
        slot.state = {"waiting": {"reason": reason, "message": message}}
        self._kubelet.events.record(pod, "Warning", "Failed", f"Error: {reason}: {message}")
        self._report()

    def _ended(self, slot: Slot, code: int, reason: str, started: str, message: str = "") -> None:
        terminated: Object = {"exitCode": code, "reason": reason, "startedAt": started, "finishedAt": clock.now(),
                              "containerID": self._container_id(slot)}  # fmt: skip
        slot.state = {"terminated": terminated | ({"message": message} if message else {})}
        slot.ready = False
        self._report()

    def _pulled(self, pod: Object, spec: Object) -> None:
        text = f'Container image "{spec["image"]}" already present on machine'
        self._kubelet.events.record(pod, "Normal", "Pulled", text)
        self._kubelet.events.record(pod, "Normal", "Created", f"Created container: {spec['name']}")

    def _lookup(self, kind: str, name: str) -> dict[str, str]:
        table = resource("configmaps" if kind == "configMap" else "secrets")
        obj = self._kubelet.registry.store.peek(table, self.name.namespace, name) or {}
        data = obj.get("data") or {}
        return {k: base64.b64decode(v).decode() for k, v in data.items()} if kind == "secret" else data

    def _container_id(self, slot: Slot) -> str:
        seed = f"{self.uid}/{slot.spec['name']}/{slot.restarts}"
        return "containerd://" + hashlib.sha256(seed.encode()).hexdigest()

    def _report(self) -> None:
        """Write the pod's status, if it is still there."""
        pod = self.pod
        if pod is not None:
            self._kubelet.registry.set_status(_PODS, pod, self._status(pod))

    def _status(self, pod: Object) -> Object:
        old = pod.get("status") or {}
        ready = all(
            self._slots[c["name"]].ready for c in pod["spec"]["containers"] if c["name"] in self._slots
        )
        ready = ready and self._phase == "Running"
        inits = pod["spec"].get("initContainers") or []
        begun = all("terminated" in self._slots[c["name"]].state for c in inits if c["name"] in self._slots)
        reason = "PodCompleted" if self._phase == "Succeeded" else "ContainersNotReady"
        wanted = [
            ("PodReadyToStartContainers", True, ""), ("Initialized", begun, "ContainersNotInitialized"),
            ("Ready", ready, reason), ("ContainersReady", ready, reason), ("PodScheduled", True, ""),
        ]  # fmt: skip
        status = old | {
            "observedGeneration": pod["metadata"].get("generation", 1),
            "phase": self._phase,
            "conditions": [condition(old, *entry) for entry in wanted],
            "hostIP": NODE_IP, "hostIPs": [{"ip": NODE_IP}], "podIP": self._ip, "podIPs": [{"ip": self._ip}],
            "startTime": self._started, "qosClass": "BestEffort",
        }  # fmt: skip
        for field_name, key in (("containers", "containerStatuses"), ("initContainers", "initContainerStatuses"),
                                ("ephemeralContainers", "ephemeralContainerStatuses")):  # fmt: skip
            specs = pod["spec"].get(field_name) or []
            if specs:
                status[key] = [self._container_status(spec) for spec in specs]
        return status

    def _container_status(self, spec: Object) -> Object:
        slot = self._slots.get(spec["name"]) or Slot(spec)
        image_id = "sha256:" + hashlib.sha256(spec["image"].encode()).hexdigest()
        return {
            "name": spec["name"], "state": slot.state, "lastState": slot.last, "ready": slot.ready,
            "restartCount": slot.restarts, "image": spec["image"], "imageID": image_id if slot.run else "",
            "containerID": self._container_id(slot) if slot.run else "", "started": "running" in slot.state,
            "resources": {},
        }  # fmt: skip


def condition(old: Object, kind: str, value: bool, reason: str) -> Object:
    """Return a condition that keeps its transition time while its status stays."""
    text = "True" if value else "False"
    known = next((c for c in old.get("conditions") or [] if c["type"] == kind), None)
    since = known["lastTransitionTime"] if known and known["status"] == text else clock.now()
    found: Object = {"type": kind, "status": text, "lastProbeTime": None, "lastTransitionTime": since}
    return found | ({"reason": reason} if reason and not value else {})


class Kubelet:
    """The one node's agent, and the scheduler that has no choice."""

    def __init__(
        self, registry: Registry, runtime: Runtime, events: Events, accounts: ServiceAccountTokens
    ) -> None:
        self.registry = registry
        self.runtime = runtime
        self.events = events
        self.accounts = accounts
        self._workers: dict[str, PodWorker] = {}
        self._group: asyncio.TaskGroup | None = None
        self._addresses = 1

    def next_ip(self) -> str:
        """Return an address no other pod has; it is a name only."""
        self._addresses += 1
        return f"10.244.{self._addresses // 250}.{self._addresses % 250 + 1}"

    def path_for(self, image: str) -> str:
        return images.search_path(image, self.runtime.applets)

    async def run(self) -> None:
        """Run every pod that is created from now on; returns only by cancellation."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        stop = self.registry.store.listen(queue.put_nowait)
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while True:
                    change = await queue.get()
                    if change.resource is _PODS:
                        self._see(change)
        finally:
            stop()

    def _see(self, change: Change) -> None:
        uid = change.object["metadata"]["uid"]
        worker = self._workers.get(uid)
        if worker is not None:
            worker.update(None if change.kind == "DELETED" else change.object)
        elif change.kind != "DELETED":
            pod = self.registry.store.peek(_PODS, namespace_of(change.object), name_of(change.object))
            if pod is not None and pod["metadata"]["uid"] == uid:
                self._adopt(pod)

    def _adopt(self, pod: Object) -> None:
        assert self._group is not None
        if not pod["spec"].get("nodeName"):
            pod = self._schedule(pod)
        if pod["spec"].get("nodeName") == NODE:
            worker = self._workers[pod["metadata"]["uid"]] = PodWorker(self, pod)
            worker.update(pod)
            self._group.create_task(self._work(worker))

    async def _work(self, worker: PodWorker) -> None:
        try:
            await worker.run()
        finally:
            self._workers.pop(worker.uid, None)

    def _schedule(self, pod: Object) -> Object:
        selector = pod["spec"].get("nodeSelector") or {}
        node: dict[str, Any] = self.registry.store.peek(resource("nodes"), "", NODE) or {
            "metadata": {},
            "spec": {},
        }
        labels = node["metadata"].get("labels") or {}
        fits = all(labels.get(k) == v for k, v in selector.items()) and not node["spec"].get("unschedulable")
        if not fits or pod["metadata"].get("deletionTimestamp"):
            return pod

        def place(current: Object) -> Object:
            current["spec"]["nodeName"] = NODE
            return current

        return self.registry.update(_PODS, namespace_of(pod), name_of(pod), place, CONTROLLER)
