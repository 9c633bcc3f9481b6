"""What a cluster is and what one may do there: api-resources, explain, version, auth."""

import json

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same


@scenario()
def discovery_lists_kinds_and_versions(kubectl: Kubectl) -> None:
    """api-resources and api-versions list what the cluster serves."""
    listed = kubectl.run("api-resources", same=Same.PATHS)
    for name in ("configmaps", "pods", "deployments", "leases"):
        assert name in listed.stdout
    kubectl.run("api-resources", "--api-group=coordination.k8s.io", "-o", "name")
    versions = kubectl.run("api-versions", same=Same.PATHS)
    assert {"v1", "apps/v1"} <= set(versions.stdout.split())


@scenario()
def explain_describes_fields(kubectl: Kubectl) -> None:
    """explain describes a kind and a field from the cluster's OpenAPI."""
    kind = kubectl.run("explain", "configmap", same=Same.PATHS)
    assert "KIND:" in kind.stdout
    kubectl.run("explain", "pod.spec.containers", same=Same.PATHS)
    kubectl.run("explain", "pod.nothing", code=1, same=Same.PATHS)


@scenario()
def version_shows_the_cluster(kubectl: Kubectl) -> None:
    """version shows the version of the cluster beside one's own."""
    shown = kubectl.run("version", "-o", "json", same=Same.PATHS)
    assert json.loads(shown.stdout)["serverVersion"]["major"] == "1"


@scenario(every_version=True, since=28)
def auth_whoami_says_who_one_is(kubectl: Kubectl) -> None:
    """auth whoami says the same user and groups on every path that carries the same credential."""
    shown = kubectl.run("auth", "whoami", "-o", "json", same=Same.NOWHERE)
    user = json.loads(shown.stdout)["status"]["userInfo"]
    assert user["username"]
    assert "system:authenticated" in user["groups"]


@scenario()
def auth_can_i_answers(kubectl: Kubectl) -> None:
    """auth can-i says yes with exit status 0."""
    answered = kubectl.run("auth", "can-i", "create", "configmaps")
    assert answered.stdout.strip() == "yes"
    kubectl.run("auth", "can-i", "get", "pods", "--subresource=log")
