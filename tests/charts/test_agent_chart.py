"""The chart cluster-tunnel-agent does what the agent needs, and gives it no right more."""

from pathlib import Path
from typing import Any

import pytest

from agent.enrolment_cluster import NAMESPACE as KUBE_SYSTEM
from agent.facts import collector, probe
from agent.settings import NO_FILE, AgentSettings
from tests.charts.rendering import (
    AGENT,
    NAMESPACE,
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
from tunnel.core.http.kubernetes import parse_request_info
from tunnel.core.identity import Identity, impersonation_fields
from tunnel.core.policy.ceiling import parse_ceiling
from tunnel.kit.document import RulesFile
from tunnel.kit.values import Address

pytestmark = needs_helm

DRAIN_MARGIN = 5
"""Seconds by which `--help` says that the Pod's grace must be longer."""

JOINING = {"certificate": {}, "join": {"existingSecret": "join", "at": "stub.example.com:443"}}
ALL_VALUES = {
    "kind": "Deployment",
    "stubs": ["one.example.com:8443", "two.example.com:8443"],
    "ceiling": {"readOnly": True, "namespaces": ["shop"]},
    "settings": {"channels-floor": 8, "proxy": "http://proxy.example.com:3128", "no-proxy": ["10.0.0.0/8"]},
    "facts": {"interval": "1h"},
    "impersonate": {"users": ["ann"], "groups": ["dev"], "uids": True, "extras": ["example.com/team"]},
    "networkPolicy": {"enabled": True, "admin": [{"namespaceSelector": {}}]},
}


def test_the_command_line_is_one_that_the_agent_takes(tmp_path: Path) -> None:
    settings = settings_of(render(AGENT), AgentSettings, tmp_path)
    assert settings.stub == (Address("stub.example.com", 8443),)
    assert settings.mode == "impersonate"
    assert settings.ceiling is None
    assert all(path.is_file() for path in (settings.cert, settings.key, settings.ca))


def test_each_value_arrives_at_the_agent(tmp_path: Path) -> None:
    settings = settings_of(render(AGENT, **ALL_VALUES), AgentSettings, tmp_path)
    assert [address.host for address in settings.stub] == ["one.example.com", "two.example.com"]
    assert settings.channels_floor == 8
    assert settings.no_proxy == ("10.0.0.0/8",)
    assert settings.facts_interval == 3600
    assert settings.ceiling is not None
    assert RulesFile(settings.ceiling, parse_ceiling, "--ceiling").current(0).scope.read_only


def test_an_agent_that_joins_has_a_token_and_a_folder_to_keep_what_it_gets(tmp_path: Path) -> None:
    rendered = render(AGENT, **JOINING)
    settings = settings_of(rendered, AgentSettings, tmp_path)
    assert settings.cert == NO_FILE
    assert settings.join_file is not None
    assert settings.join_file.is_file()
    assert settings.join_at == Address("stub.example.com", 443)
    assert settings.state is not None
    assert settings.state.is_dir()
    volumes = {each["name"]: each for each in rendered.template["spec"]["volumes"]}
    assert volumes["state"]["emptyDir"] == {}


def test_a_volume_for_the_state_takes_the_place_of_the_empty_one() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "state"}}
    rendered = render(AGENT, **JOINING | {"join": {"existingSecret": "join", "state": claim}})
    assert {"name": "state"} | claim in rendered.template["spec"]["volumes"]


@pytest.mark.parametrize("seconds", [1, 30, 3600])
def test_a_pod_has_longer_than_the_agent_drains(seconds: int, tmp_path: Path) -> None:
    rendered = render(AGENT, drainGraceSeconds=seconds)
    assert settings_of(rendered, AgentSettings, tmp_path).drain_grace == seconds
    assert rendered.template["spec"]["terminationGracePeriodSeconds"] >= seconds + DRAIN_MARGIN


def test_the_admin_port_is_the_one_the_agent_listens_on(tmp_path: Path) -> None:
    rendered = render(AGENT)
    settings = settings_of(rendered, AgentSettings, tmp_path)
    assert settings.admin_listen is not None
    assert rendered.ports == {"admin": settings.admin_listen.port}


def test_each_node_has_an_agent_and_a_new_one_serves_before_the_old_one_goes() -> None:
    workload = render(AGENT).workload
    assert workload["kind"] == "DaemonSet"
    assert "replicas" not in workload["spec"]
    assert workload["spec"]["updateStrategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_deployment_has_replicas_a_budget_and_is_spread_over_nodes() -> None:
    rendered = render(AGENT, kind="Deployment", replicas=3)
    labels = rendered.template["metadata"]["labels"]
    assert rendered.workload["spec"]["replicas"] == 3
    assert rendered.workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (spread,) = rendered.template["spec"]["topologySpreadConstraints"]
    for selector in (rendered.one("PodDisruptionBudget")["spec"]["selector"], spread["labelSelector"]):
        assert includes(labels, selector["matchLabels"])


# Rights ----------------------------------------------------------------------------------------

_IMPERSONATION = {
    b"Impersonate-User": ("", "users"),
    b"Impersonate-Group": ("", "groups"),
    b"Impersonate-Uid": ("authentication.k8s.io", "uids"),
}


def right(target: bytes) -> Right:
    """What a GET of the agent's needs."""
    info = parse_request_info(b"GET", target)
    return (info.api_group, info.resource, info.verb) if info.is_resource else ("/", info.path, "get")


def impersonations(identity: Identity) -> set[Right]:
    """What the apiserver asks of whoever sends the fields of an identity."""
    found = set()
    for name, _ in impersonation_fields(identity):
        extra = name.removeprefix(b"Impersonate-Extra-").decode()
        group, resource = _IMPERSONATION.get(name, ("authentication.k8s.io", f"userextras/{extra}"))
        found.add((group, resource, "impersonate"))
    return found


PROBES = {right(probe.PATH), right(b"/version")}
FACTS = {right(collector.NODES), right(collector.PODS)}
USERS = impersonations(Identity("ann", ("dev",)))


@pytest.mark.parametrize(
    ("values", "rights"),
    [
        ({}, PROBES | FACTS | USERS),
        ({"facts": {"enabled": False}}, PROBES | USERS),
        ({"mode": "token"}, PROBES | FACTS),
        (JOINING, PROBES | FACTS | USERS | {right(KUBE_SYSTEM)}),
        (
            {"impersonate": {"uids": True, "extras": ["team"]}},
            PROBES | FACTS | impersonations(Identity("ann", ("dev",), "7", (("team", ("a",)),))),
        ),
    ],
    ids=["default", "without facts", "token", "joining", "whole identity"],
)
def test_the_agent_may_do_what_it_asks_for_and_nothing_else(
    values: dict[str, Any], rights: set[Right]
) -> None:
    rendered = render(AGENT, **values)
    (role,) = rendered.all("ClusterRole")
    assert rights_of(role) == rights
    assert [each["roleRef"]["name"] for each in rendered.all("ClusterRoleBinding")] == [
        role["metadata"]["name"]
    ]


def test_without_facts_none_are_asked_for(tmp_path: Path) -> None:
    settings = settings_of(render(AGENT, facts={"enabled": False}), AgentSettings, tmp_path)
    assert settings.facts_interval is None


def test_impersonation_can_be_limited_to_names() -> None:
    (role,) = render(AGENT, impersonate={"users": ["ann", "bob"], "groups": ["dev"]}).all("ClusterRole")
    assert names_of(role, "users") == [["ann", "bob"]]
    assert names_of(role, "groups") == [["dev"]]


def test_the_namespace_whose_uid_is_read_is_the_only_one() -> None:
    (role,) = render(AGENT, **JOINING).all("ClusterRole")
    assert names_of(role, "namespaces") == [["kube-system"]]


def test_in_token_mode_the_agent_has_the_rights_of_the_role_that_is_named() -> None:
    rendered = render(AGENT, mode="token", token={"clusterRole": "view"})
    binding = rendered.one("ClusterRoleBinding", "-token")
    assert binding["roleRef"]["name"] == "view"
    assert binding["subjects"][0]["name"] == rendered.template["spec"]["serviceAccountName"]


def test_roles_of_one_release_name_in_two_namespaces_have_two_names() -> None:
    (role,) = render(AGENT).all("ClusterRole")
    assert role["metadata"]["name"].endswith(f"-{NAMESPACE}")


def test_without_rbac_no_right_is_given() -> None:
    rendered = render(AGENT, rbac={"create": False}, mode="token", token={"clusterRole": "view"})
    assert not rendered.all("ClusterRole")
    assert not rendered.all("ClusterRoleBinding")


# Values ----------------------------------------------------------------------------------------


def test_an_agent_has_a_stub_and_one_way_to_its_certificate() -> None:
    assert "stubs: name at least one" in refusal(AGENT, {"stubs": []})
    assert "join.existingSecret" in refusal(AGENT, {"certificate": {}})
    assert "exclude each other" in refusal(AGENT, {"join": {"existingSecret": "join"}})


@pytest.mark.parametrize("values", [{}, ALL_VALUES, JOINING, {"mode": "token"}])
def test_helm_has_nothing_to_complain_about(values: dict[str, Any]) -> None:
    least = {"image": {"repository": "example.com/ct"}, "certificate": {"existingSecret": "certificate"}}
    done = helm("lint", AGENT, least | {"stubs": ["stub.example.com:8443"]} | values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
