"""get -w and wait: what happens in the cluster is seen at once, and for as long as one looks."""

import http.client
import json
import statistics
import time

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same
from tests.scenarios.proxying import serving_proxy

# An event must be printed within this after the write was acknowledged (the median of five), and none may ever take
# longer than the second, which allows for a machine that is busy with something else.
_SOON_SECONDS = 0.2
_LATEST_SECONDS = 3.0


@scenario(cases=(18,), every_version=True)
def get_watch_shows_each_event_at_once(kubectl: Kubectl) -> None:
    """get -w prints each event within 200 ms of the write, and ends when it is told to."""
    kubectl.apply(kubectl.configmap("watched", n="0"))
    # By a selector: of a single object kubectl watches from "now" on and may miss what was written a moment before.
    chosen = f"--selector=play={kubectl.play}"
    shown = ("get", "configmaps", chosen, "--watch", "-o", "jsonpath={.data.n}{'\\n'}")
    with kubectl.start(*shown) as watch, serving_proxy(kubectl) as writer:
        watch.wait_for(lambda line: line == "0")
        written = {n: _write(kubectl, writer, n) for n in range(1, 6)}
        lags = []
        for n, acknowledged in written.items():
            lags.append(watch.wait_for(str(n).__eq__)[0].at - acknowledged)
    kubectl.measured["get -w, event after acknowledged write, ms (median)"] = statistics.median(lags) * 1000
    kubectl.measured["get -w, event after acknowledged write, ms (longest)"] = max(lags) * 1000
    assert statistics.median(lags) < _SOON_SECONDS, lags
    assert max(lags) < _LATEST_SECONDS, lags


def _write(kubectl: Kubectl, writer: http.client.HTTPConnection, n: int) -> float:
    """Change the ConfigMap and return when the cluster had acknowledged it."""
    target = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps/{kubectl.named('watched')}"
    headers = {"Content-Type": "application/merge-patch+json"}
    writer.request("PATCH", target, json.dumps({"data": {"n": str(n)}}), headers)
    answer = writer.getresponse()
    answer.read()
    assert answer.status == 200
    return time.monotonic()


@scenario()
def get_watch_shows_creation_and_deletion(kubectl: Kubectl) -> None:
    """get -w shows what is created, changed and deleted, in that order."""
    chosen = f"--selector=play={kubectl.play}"
    shown = ("get", "configmaps", chosen, "--watch", "--output-watch-events")
    kubectl.apply(kubectl.configmap("first", n="0"))
    with kubectl.start(*shown) as watch:
        watch.wait_for_text("first")
        kubectl.apply(kubectl.configmap("second", n="1"))
        kubectl.run("label", "configmap", kubectl.named("second"), "a=1")
        kubectl.run("delete", "configmap", kubectl.named("second"))
        watch.wait_for_text("DELETED")
        events = [line.text.split()[0] for line in watch.output if "second" in line.text]
    assert events == ["ADDED", "MODIFIED", "DELETED"]


@scenario()
def wait_returns_when_the_condition_holds(kubectl: Kubectl) -> None:
    """wait returns on a condition, on a field's value and on deletion, and fails when its time passes."""
    kubectl.run("wait", "--for=condition=Ready", "pod/shell", "--timeout=10s")
    kubectl.run("wait", "--for=jsonpath={.status.phase}=Running", "pod/shell", "--timeout=10s")
    kubectl.apply(kubectl.configmap("awaited", a="1"))
    target = f"configmap/{kubectl.named('awaited')}"
    with kubectl.start("wait", "--for=delete", target, "--timeout=20s") as waiting:
        kubectl.run("delete", "configmap", kubectl.named("awaited"))
        kubectl.conclude(waiting, same=Same.NOWHERE)
    late = kubectl.run("wait", "--for=jsonpath={.status.phase}=Failed", "pod/shell", "--timeout=1s", code=1)
    assert "timed out" in late.stderr


@scenario(cases=(19,), slow=True, seconds=2400)
def a_watch_silent_for_35_minutes_still_works(kubectl: Kubectl) -> None:
    """A watch in which nothing happens for 35 minutes is not ended by anything on the way.

    The apiserver ends a watch after 30 to 60 minutes by itself, so the request names a longer time.
    """
    kubectl.apply(kubectl.configmap("silent", n="0"))
    listed = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps"
    query = f"watch=true&timeoutSeconds=3600&labelSelector=play%3D{kubectl.play}"
    with kubectl.start("get", "--raw", f"{listed}?{query}") as watch:
        watch.wait_for_text('"ADDED"')
        time.sleep(35 * 60)
        assert watch.process.poll() is None, watch.described()
        kubectl.run("label", "configmap", kubectl.named("silent"), "a=1")
        watch.wait_for_text('"MODIFIED"', seconds=5)
