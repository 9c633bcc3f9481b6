"""Opening a way to a cluster: a namespace of its own with the pod that scenarios exec into."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tests.scenarios.binaries import Binary, newest
from tests.scenarios.kubectl import Access, Kubectl, Same


@contextlib.contextmanager
def open_access(name: str, kubeconfig: Path, home: Path, *, image: str, simulated: bool) -> Iterator[Access]:
    """Make a namespace, start the pod `shell` in it, and delete both at the end.

    Args:
        name: how failures call this path, and a part of the namespace's name.
        home: an empty folder for kubectl's caches.
        image: an image with a shell and busybox's tools, which nodes have or can pull.
        simulated: True where pods are processes of this machine.
    """
    home.mkdir(parents=True, exist_ok=True)
    namespace = f"scenarios-{name}-{os.getpid()}-{time.time_ns() % 100_000}"
    access = Access(name, kubeconfig, namespace, image, home, simulated)
    kubectl = Kubectl(_binary(), access)
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    try:
        _wait_for_account(kubectl)
        _start_shell(kubectl)
        yield access
    finally:
        kubectl.run("delete", "namespace", namespace, "--wait=false", code=None)


def _binary() -> Binary:
    binary = newest()
    assert binary is not None, "tests that open an access are skipped without kubectl"
    return binary


def _wait_for_account(kubectl: Kubectl, seconds: float = 20) -> None:
    """A namespace takes pods only when its default ServiceAccount was made, a moment after itself."""
    deadline = time.monotonic() + seconds
    while kubectl.run("get", "serviceaccount", "default", code=None).code:
        assert time.monotonic() < deadline, "the namespace got no default ServiceAccount"
        time.sleep(0.1)


def _start_shell(kubectl: Kubectl) -> None:
    manifest = kubectl.pod("shell", "sh", "-c", "echo started; exec sleep 86400")
    manifest["metadata"] = {"name": "shell"}
    kubectl.run("apply", "-f", "-", stdin=json.dumps(manifest))
    kubectl.run("wait", "--for=condition=Ready", "pod/shell", "--timeout=60s", same=Same.NOWHERE, seconds=70)
