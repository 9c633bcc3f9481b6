"""What kubectl may and may not do under a ceiling that allows reading only."""

from pathlib import Path

from tests.scenarios.kubectl import Kubectl, Same

CEILING = "readOnly: true\n"
REFUSED = "above the cluster's ceiling: it allows reading only"


def write_ceiling(folder: Path) -> Path:
    """The ceiling as a file."""
    path = folder / "ceiling.yaml"
    path.write_text(CEILING)
    return path


def check_that_reading_works(kubectl: Kubectl) -> None:
    """get, describe, logs, a watch that sees the pod, and discovery."""
    assert kubectl.run("get", "pod", "shell", "-o", "name", same=Same.NOWHERE).stdout == "pod/shell\n"
    assert "shell" in kubectl.run("describe", "pod", "shell", same=Same.NOWHERE).stdout
    assert kubectl.run("logs", "shell", same=Same.NOWHERE).stdout == "started\n"
    assert "deployments" in kubectl.run("api-resources", same=Same.NOWHERE).stdout
    assert kubectl.run("auth", "can-i", "get", "pods", same=Same.NOWHERE).stdout == "yes\n"
    with kubectl.start("get", "pods", "--watch", "-o", "name") as watch:
        watch.wait_for_text("pod/shell")
    with kubectl.start("logs", "-f", "shell") as follow:
        follow.wait_for_text("started")


def check_that_nothing_else_does(kubectl: Kubectl) -> None:
    """delete, exec, port-forward, create, scale and the proxy are refused by name, and the pod lives on."""
    for command in (
        ("delete", "pod", "shell"),
        ("delete", "pods", "--all"),
        ("exec", "shell", "--", "true"),
        ("create", "configmap", "any"),
        ("label", "pod", "shell", "a=b"),
        ("get", "--raw", f"/api/v1/namespaces/{kubectl.access.namespace}/pods/shell/proxy/"),
    ):
        refused = kubectl.run(*command, code=1, same=Same.NOWHERE)
        assert REFUSED in refused.stderr, refused.described()
    forward = kubectl.run("port-forward", "pod/shell", ":80", code=1, same=Same.NOWHERE)
    assert REFUSED in forward.stderr, forward.described()
    assert kubectl.run("get", "pod", "shell", "-o", "name", same=Same.NOWHERE).stdout == "pod/shell\n"
