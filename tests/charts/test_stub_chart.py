"""The chart cluster-tunnel-stub does what the stub needs, and gives it no right more."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import stub.election
from stub.election.choice import KubernetesLease
from stub.election.label import ACTIVE_LABEL
from stub.settings import StubSettings
from tests.charts.rendering import (
    NAMESPACE,
    STUB,
    Right,
    helm,
    includes,
    names_of,
    needs_helm,
    refusal,
    render,
    rights_of,
    settings_of,
)
from tunnel.core.policy.access import parse_access
from tunnel.kit.document import RulesFile

pytestmark = needs_helm

DRAIN_MARGIN = 5
"""Seconds by which `--help` says that the Pod's grace must be longer."""

_GROUPS = {"CoordinationV1Api": "coordination.k8s.io", "CoreV1Api": ""}
_VERBS = {"read": "get", "replace": "update", "create": "create", "patch": "patch", "list": "list"}
_RESOURCES = {"lease": "leases", "pod": "pods"}

ALL_VALUES = {
    "access": {"default": "deny", "rules": [{"name": "admins", "groups": ["admins"], "clusters": ["*"]}]},
    "settings": {
        "domain": "clusters.example.com",
        "audit": "-",
        "max-connections": 1_000_000,
        "allow-users": ["system:ci"],
        "forward-cookies": True,
        "lease-duration": "20s",
    },
    "separateAgentPort": True,
    "agentService": {"enabled": True},
    "networkPolicy": {"enabled": True, "admin": [{"namespaceSelector": {}}]},
}


def test_the_command_line_is_one_that_the_stub_takes(tmp_path: Path) -> None:
    settings = settings_of(render(STUB), StubSettings, tmp_path)
    assert settings.lease == KubernetesLease(NAMESPACE, "release-cluster-tunnel-stub")
    assert settings.pod_name == "metadata.name"
    assert settings.access is None


def test_each_value_arrives_at_the_stub(tmp_path: Path) -> None:
    settings = settings_of(render(STUB, **ALL_VALUES), StubSettings, tmp_path)
    assert settings.domain == "clusters.example.com"
    assert settings.audit == "-"
    assert settings.max_connections == 1_000_000
    assert settings.allow_users == ("system:ci",)
    assert settings.forward_cookies
    assert settings.lease_duration == 20
    assert settings.access is not None
    rules = RulesFile(settings.access, parse_access, "--access").current(0).rules
    assert [rule.clusters.matches("blue") for rule in rules] == [True]


def test_the_number_of_workers_arrives_at_the_stub(tmp_path: Path) -> None:
    assert settings_of(render(STUB, workers=4), StubSettings, tmp_path).workers == 4


@pytest.mark.parametrize("seconds", [1, 30, 3600])
def test_a_pod_has_longer_than_the_stub_drains(seconds: int, tmp_path: Path) -> None:
    rendered = render(STUB, drainGraceSeconds=seconds)
    settings = settings_of(rendered, StubSettings, tmp_path)
    assert settings.drain_grace == seconds
    assert rendered.template["spec"]["terminationGracePeriodSeconds"] >= seconds + DRAIN_MARGIN


def test_the_ports_are_those_that_the_stub_listens_on(tmp_path: Path) -> None:
    rendered = render(STUB, **ALL_VALUES)
    settings = settings_of(rendered, StubSettings, tmp_path)
    assert settings.agent_listen is not None
    assert settings.admin_listen is not None
    assert rendered.ports == {
        "https": settings.listen.port,
        "agents": settings.agent_listen.port,
        "admin": settings.admin_listen.port,
    }
    assert {settings.listen.host, settings.agent_listen.host, settings.admin_listen.host} == {""}


# Who is led where ------------------------------------------------------------------------------


def test_users_are_led_to_the_active_stub_alone() -> None:
    rendered = render(STUB)
    service = rendered.one("Service", "stub")
    standby = rendered.template["metadata"]["labels"]
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert not includes(standby, service["spec"]["selector"])
    assert includes(standby | {ACTIVE_LABEL: "true"}, service["spec"]["selector"])


@pytest.mark.parametrize("separate", [False, True])
def test_agents_are_led_to_all_stubs_at_the_port_that_takes_them(separate: bool) -> None:
    rendered = render(STUB, separateAgentPort=separate, agentService={"enabled": True, "port": 9443})
    inside, outside = rendered.one("Service", "-agents"), rendered.one("Service", "-agents-external")
    for service in (inside, outside):
        assert service["spec"]["publishNotReadyAddresses"] is True
        assert includes(rendered.template["metadata"]["labels"], service["spec"]["selector"])
        (port,) = service["spec"]["ports"]
        assert port["targetPort"] == ("agents" if separate else "https")
    assert inside["spec"]["clusterIP"] == "None"
    assert inside["spec"]["ports"][0]["port"] == rendered.ports["agents" if separate else "https"]
    assert outside["spec"]["ports"][0]["port"] == 9443


def test_the_active_stub_takes_its_label_from_the_pods_of_this_release_alone(tmp_path: Path) -> None:
    rendered = render(STUB)
    selector = settings_of(rendered, StubSettings, tmp_path).pod_selector
    assert selector is not None
    labels = dict(part.split("=") for part in selector.split(","))
    assert labels == rendered.workload["spec"]["selector"]["matchLabels"]
    assert "release" in labels.values()


def test_labels_for_pods_cannot_take_them_away_from_their_services() -> None:
    rendered = render(STUB, podLabels={"app.kubernetes.io/name": "other", "team": "blue"})
    labels = rendered.template["metadata"]["labels"]
    assert labels["team"] == "blue"
    assert includes(labels, rendered.workload["spec"]["selector"]["matchLabels"])


def test_each_selector_leads_to_the_pods() -> None:
    rendered = render(STUB, **ALL_VALUES)
    labels = rendered.template["metadata"]["labels"]
    (spread,) = rendered.template["spec"]["topologySpreadConstraints"]
    for selector in (
        rendered.workload["spec"]["selector"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"],
        rendered.one("NetworkPolicy")["spec"]["podSelector"],
        spread["labelSelector"],
    ):
        assert includes(labels, selector["matchLabels"])


# Rights ----------------------------------------------------------------------------------------


def calls_of_the_election() -> Iterator[Right]:
    """What `stub/election` asks of the apiserver, found in its source."""
    for path in Path(stub.election.__path__[0]).rglob("*.py"):
        tree = ast.parse(path.read_text())
        groups = {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in _GROUPS
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from _asked(node, node.func.attr, groups)


def _asked(call: ast.Call, method: str, groups: set[str]) -> Iterator[Right]:
    for argument in call.args:
        text = argument.value if isinstance(argument, ast.Constant) else None
        found = re.fullmatch(r"([a-z]+)_namespaced_([a-z]+)", text) if isinstance(text, str) else None
        if found is not None:
            (group,) = groups
            verb = "watch" if method == "watch" else _VERBS[found[1]]
            yield _GROUPS[group], _RESOURCES[found[2]], verb


def test_the_stub_may_do_what_its_election_asks_for_and_nothing_else() -> None:
    asked = set(calls_of_the_election())
    assert ("coordination.k8s.io", "leases", "watch") in asked
    assert rights_of(render(STUB).one("Role")) == asked


def test_rights_on_the_lease_are_limited_to_its_name_except_to_create_it(tmp_path: Path) -> None:
    rendered = render(STUB)
    lease = settings_of(rendered, StubSettings, tmp_path).lease
    assert isinstance(lease, KubernetesLease)
    role = rendered.one("Role")
    unlimited = [
        rule for rule in role["rules"] if "resourceNames" not in rule and "leases" in rule["resources"]
    ]
    assert [rule["verbs"] for rule in unlimited] == [["create"]]
    assert [lease.name] in names_of(role, "leases")


def test_the_rights_go_to_the_pods_service_account() -> None:
    rendered = render(STUB, serviceAccount={"name": "stubs"})
    (subject,) = rendered.one("RoleBinding")["subjects"]
    assert subject == {"kind": "ServiceAccount", "name": "stubs", "namespace": NAMESPACE}
    assert rendered.template["spec"]["serviceAccountName"] == "stubs"
    assert rendered.one("ServiceAccount")["metadata"]["name"] == "stubs"


def test_without_rbac_no_right_is_given() -> None:
    rendered = render(STUB, rbac={"create": False})
    assert not rendered.all("Role")
    assert not rendered.all("RoleBinding")


# Values ----------------------------------------------------------------------------------------


def test_a_claim_takes_the_place_of_the_secret() -> None:
    rendered = render(STUB, certificates={"existingClaim": "ca"})
    claim = {"name": "certificates", "persistentVolumeClaim": {"claimName": "ca"}}
    assert claim in rendered.template["spec"]["volumes"]
    (mount,) = [each for each in rendered.container["volumeMounts"] if each["name"] == "certificates"]
    assert mount["readOnly"] is False


def test_certificates_come_from_one_place() -> None:
    assert "certificates.existingSecret" in refusal(STUB, {"certificates": {}})
    both = {"certificates": {"existingSecret": "a", "existingClaim": "b"}}
    assert "exclude each other" in refusal(STUB, both)


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_one_stub_alone_has_no_disruption_budget(replicas: int, budgets: int) -> None:
    assert len(render(STUB, replicas=replicas).all("PodDisruptionBudget")) == budgets


@pytest.mark.parametrize("values", [{}, ALL_VALUES, {"service": {"type": "NodePort", "nodePort": 30443}}])
def test_helm_has_nothing_to_complain_about(values: dict[str, Any]) -> None:
    least = {"image": {"repository": "example.com/ct"}, "certificates": {"existingSecret": "certificates"}}
    done = helm("lint", STUB, least | values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_pod_is_born_active() -> None:
    assert ACTIVE_LABEL not in render(STUB).template["metadata"]["labels"]
