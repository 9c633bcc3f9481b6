"""The chart cluster-tunnel-agent does what the agent needs, and gives it no right more."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from agent.enrolment_cluster import NAMESPACE as KUBE_SYSTEM
from agent.facts import collector, probe
from agent.settings import NO_FILE, AgentSettings
from agent.upstream import reviews
from agent.upstream.accounts import ServiceAccount
from agent.upstream.tokens import TokenIssuer, open_accounts
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
from tunnel.core import extras
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
    "impersonate": {
        "users": ["ann"],
        "groups": ["dev"],
        "uids": True,
        "extra": ["certificate", "address", "request"],
        "allowAs": True,
    },
    "networkPolicy": {"enabled": True, "admin": [{"namespaceSelector": {}}]},
}
ACCOUNTS = {
    "mode": "tokenrequest",
    "accounts": [
        {"groups": ["dev"], "serviceAccount": "shop/deployer"},
        {"groups": ["dev"], "serviceAccount": "shop/deployer"},
        {"users": ["ann"], "serviceAccount": "shop/viewer"},
        {"users": ["bob"], "serviceAccount": "lab/viewer"},
    ],
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
    assert settings.impersonate_extra == ("certificate", "address", "request")
    assert settings.allow_impersonation
    assert settings.ceiling is not None
    assert RulesFile(settings.ceiling, parse_ceiling, "--ceiling").current(0).scope.read_only


def test_the_accounts_arrive_at_the_agent(tmp_path: Path) -> None:
    settings = settings_of(render(AGENT, **ACCOUNTS), AgentSettings, tmp_path)
    assert settings.accounts is not None
    rules = open_accounts(settings.accounts).current(0)
    assert rules.account_of(Identity("ann", ("dev",))) == ServiceAccount("shop", "deployer")
    assert rules.account_of(Identity("bob")) == ServiceAccount("lab", "viewer")


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


def test_the_number_of_workers_arrives_at_the_agent(tmp_path: Path) -> None:
    assert settings_of(render(AGENT, workers=4), AgentSettings, tmp_path).workers == 4


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


def right(target: bytes, method: bytes = b"GET") -> Right:
    """What a request of the agent's needs."""
    info = parse_request_info(method, target)
    if not info.is_resource:
        return "/", info.path, "get"
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    return info.api_group, resource, info.verb


def impersonations(identity: Identity) -> set[Right]:
    """What the apiserver asks of whoever sends the fields of an identity."""
    found = set()
    for name, _ in impersonation_fields(identity):
        extra = unquote(name.removeprefix(b"Impersonate-Extra-").decode())
        group, resource = _IMPERSONATION.get(name, ("authentication.k8s.io", f"userextras/{extra}"))
        found.add((group, resource, "impersonate"))
    return found


def told(*keys: str) -> set[Right]:
    """What it takes to tell the apiserver these extra attributes."""
    return impersonations(Identity("ann", ("dev",), None, tuple((key, ("x",)) for key in keys)))


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
            {"impersonate": {"uids": True}},
            PROBES | FACTS | impersonations(Identity("ann", ("dev",), "7")),
        ),
        (
            {"impersonate": {"extra": ["certificate", "address", "request"]}},
            PROBES | FACTS | told(extras.CERTIFICATE, extras.ADDRESS, extras.REQUEST),
        ),
        (
            {"impersonate": {"allowAs": True}},
            PROBES | FACTS | told(extras.ORIGINAL_USER) | {right(reviews.PATH.encode(), b"POST")},
        ),
        ({"mode": "passthrough"}, PROBES | FACTS),
        (ACCOUNTS, PROBES | FACTS),
    ],
    ids=[
        "default",
        "no facts",
        "token",
        "joining",
        "uids",
        "extra",
        "allowAs",
        "passthrough",
        "tokenrequest",
    ],
)
def test_the_agent_may_do_what_it_asks_for_and_nothing_else(
    values: dict[str, Any], rights: set[Right]
) -> None:
    rendered = render(AGENT, **values)
    (role,) = rendered.all("ClusterRole")
    assert rights_of(role) == rights
    assert bool(rendered.all("Role")) == (values is ACCOUNTS)
    assert [each["roleRef"]["name"] for each in rendered.all("ClusterRoleBinding")] == [
        role["metadata"]["name"]
    ]


class Posted:
    """An apiserver that gives a token, and keeps where it was asked for."""

    path = ""

    async def create(self, path: str, body: object, what: str) -> dict[str, object]:
        self.path = path
        return {"status": {"token": "x"}, "spec": {"expirationSeconds": 600}}


async def test_tokens_can_be_had_of_the_accounts_alone_that_are_named() -> None:
    posted = Posted()
    await TokenIssuer(posted).issue(ServiceAccount("shop", "viewer"))
    roles = {role["metadata"]["namespace"]: role for role in render(AGENT, **ACCOUNTS).all("Role")}
    assert roles.keys() == {"shop", "lab"}
    assert rights_of(roles["shop"]) == {right(posted.path.encode(), b"POST")}
    assert names_of(roles["shop"], "serviceaccounts/token") == [["deployer", "viewer"]]
    assert names_of(roles["lab"], "serviceaccounts/token") == [["viewer"]]


def test_accounts_and_their_mode_go_together() -> None:
    assert "accounts" in refusal(AGENT, {"mode": "tokenrequest"})
    assert "goes with mode tokenrequest" in refusal(AGENT, {"accounts": ACCOUNTS["accounts"]})


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
    binding = rendered.one("ClusterRoleBinding", "-token-view")
    assert binding["roleRef"]["name"] == "view"
    assert binding["subjects"][0]["name"] == rendered.template["spec"]["serviceAccountName"]


def test_a_binding_of_one_name_has_one_role_for_ever() -> None:
    """The apiserver refuses another roleRef, and `helm upgrade` would fail."""

    def roles(**values: Any) -> dict[tuple[str, str, str], Any]:
        found = render(AGENT, **values).manifests
        return {
            (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["roleRef"]
            for each in found
            if each["kind"].endswith("RoleBinding")
        }

    view, edit = (roles(mode="token", token={"clusterRole": role}) for role in ("view", "system:edit"))
    for others in (edit, roles(), roles(**ACCOUNTS)):
        assert {name: others[name] for name in view.keys() & others} == {
            name: view[name] for name in view.keys() & others
        }
    assert len(view) == len(edit) == 2


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


@pytest.mark.parametrize(
    "values", [{}, ALL_VALUES, JOINING, {"mode": "token"}, {"mode": "passthrough"}, ACCOUNTS]
)
def test_helm_has_nothing_to_complain_about(values: dict[str, Any]) -> None:
    least = {"image": {"repository": "example.com/ct"}, "certificate": {"existingSecret": "certificate"}}
    done = helm("lint", AGENT, least | {"stubs": ["stub.example.com:8443"]} | values, "--strict")
    assert done.returncode == 0, done.stdout + done.stderr
