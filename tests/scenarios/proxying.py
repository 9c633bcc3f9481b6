"""kubectl proxy: the API on a local port for programs that cannot speak for themselves."""

import contextlib
import http.client
import json
from collections.abc import Iterator

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl


@contextlib.contextmanager
def serving_proxy(kubectl: Kubectl) -> Iterator[http.client.HTTPConnection]:
    """A connection to a `kubectl proxy` that serves the whole API."""
    with kubectl.start("proxy", "--port=0") as proxy:
        said = proxy.wait_for_text("Starting to serve on")
        host, _, port = said.text.split()[-1].rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            yield connection
        finally:
            connection.close()


@scenario()
def proxy_serves_the_api_locally(kubectl: Kubectl) -> None:
    """kubectl proxy answers GET, POST and DELETE of a local program."""
    objects = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps"
    with serving_proxy(kubectl) as connection:
        made = _ask(connection, "POST", objects, json.dumps(kubectl.configmap("proxied", a="1")))
        assert made == (201, {"a": "1"})
        assert _ask(connection, "GET", f"{objects}/{kubectl.named('proxied')}") == (200, {"a": "1"})
        status, _ = _ask(connection, "DELETE", f"{objects}/{kubectl.named('proxied')}")
        assert status == 200
        status, _ = _ask(connection, "GET", f"{objects}/{kubectl.named('proxied')}")
        assert status == 404


def _ask(
    connection: http.client.HTTPConnection, method: str, target: str, body: str | None = None
) -> tuple[int, object]:
    headers = {"Content-Type": "application/json"} if body else {}
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()).get("data")


@scenario()
def proxy_streams_a_watch(kubectl: Kubectl) -> None:
    """A watch through kubectl proxy brings an event when it happens."""
    kubectl.apply(kubectl.configmap("streamed", a="1"))
    listed = f"/api/v1/namespaces/{kubectl.access.namespace}/configmaps"
    with serving_proxy(kubectl) as connection:
        connection.request("GET", f"{listed}?watch=true&labelSelector=play%3D{kubectl.play}")
        answer = connection.getresponse()
        assert json.loads(answer.readline())["type"] == "ADDED"
        kubectl.run("label", "configmap", kubectl.named("streamed"), "b=2")
        assert json.loads(answer.readline())["type"] == "MODIFIED"
