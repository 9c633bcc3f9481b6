"""Where the apiserver is, as the settings or a kubeconfig say."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent.settings import AgentSettings
from agent.upstream.connection import UpstreamConnection
from agent.upstream.credential import BasicPassword, NoToken, StaticToken, TokenFile
from agent.upstream.known import KnownAnswers
from agent.upstream.plugin import PluginCredential
from agent.upstream.target import target_of
from tunnel.aio.sockets import UPSTREAM_LEG
from tunnel.kit.failures import CommandFailed, UsageError
from tunnel.kit.values import Address


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    token = tmp_path / "token"
    token.write_text("t0ken")
    return AgentSettings(
        stub=(Address("stub", 8443),),
        cert=tmp_path,
        key=tmp_path,
        ca=tmp_path,
        upstream="https://10.0.0.1:6443",
        token_file=token,
    )


def kubeconfig(
    settings: AgentSettings, folder: Path, server: str, user: str, cluster: str = ""
) -> AgentSettings:
    """Settings with a kubeconfig in place of --upstream."""
    path = folder / "kubeconfig"
    path.write_text(
        f"""
current-context: c
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
clusters: [{{name: k, cluster: {{server: "{server}", {cluster}}}}}]
users: [{{name: u, user: {{{user}}}}}]
"""
    )
    return replace(settings, upstream=None, token_file=None, kubeconfig=path)


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "base_path"),
    [
        ("https://10.0.0.1:6443", "10.0.0.1", 6443, b"10.0.0.1:6443", b""),
        ("https://api.example.com", "api.example.com", 443, b"api.example.com", b""),
        ("https://[2001:db8::1]:6443/", "2001:db8::1", 6443, b"[2001:db8::1]:6443", b""),
        (
            "https://rancher.example.com/k8s/c-1/",
            "rancher.example.com",
            443,
            b"rancher.example.com",
            b"/k8s/c-1",
        ),
    ],
)
def test_the_url_says_where_to_connect_and_what_host_to_name(
    settings: AgentSettings, url: str, host: str, port: int, authority: bytes, base_path: bytes
) -> None:
    target = target_of(replace(settings, upstream=url))
    assert (target.host, target.port, target.authority, target.base_path) == (
        host,
        port,
        authority,
        base_path,
    )
    assert target.url == b"https://" + authority + base_path
    assert target.context is not None
    assert target.server_name == host
    assert isinstance(target.credential, TokenFile)


def test_plain_http_needs_no_context(settings: AgentSettings, tmp_path: Path) -> None:
    target = target_of(kubeconfig(settings, tmp_path, "http://127.0.0.1:8001", "token: t"))
    assert target.context is None
    assert target.url == b"http://127.0.0.1:8001"


@pytest.mark.parametrize(
    ("user", "kind"),
    [
        ("token: abc", StaticToken),
        ("username: a, password: b", BasicPassword),
        (
            "exec: {apiVersion: client.authentication.k8s.io/v1, command: p, interactiveMode: Never}",
            PluginCredential,
        ),
        ("", NoToken),
    ],
)
async def test_a_kubeconfigs_user_is_the_credential(
    settings: AgentSettings, tmp_path: Path, user: str, kind: type
) -> None:
    target = target_of(kubeconfig(settings, tmp_path, "https://10.0.0.1:6443", user))
    assert type(target.credential) is kind


@pytest.mark.parametrize(
    ("mode", "shows"),
    [("token", True), ("impersonate", True), ("passthrough", False), ("tokenrequest", False)],
)
def test_where_users_bring_tokens_the_connection_is_not_the_agents(
    settings: AgentSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Any, shows: bool
) -> None:
    """The apiserver believes a connection's certificate before it looks at any token."""
    shown: list[object] = []
    monkeypatch.setattr(
        "agent.upstream.target.upstream_context", lambda **given: shown.append(given["certificate"])
    )
    user = "client-certificate-data: YQ==, client-key-data: YQ==, token: own"
    found = kubeconfig(settings, tmp_path, "https://10.0.0.1:6443", user)
    accounts = tmp_path / "accounts.yaml" if mode == "tokenrequest" else None
    assert isinstance(target_of(replace(found, mode=mode, accounts=accounts)).credential, StaticToken)
    assert (shown != [None]) is shows


def test_an_agent_that_asks_for_users_tokens_needs_one_of_its_own(
    settings: AgentSettings, tmp_path: Path
) -> None:
    user = "client-certificate-data: YQ==, client-key-data: YQ=="
    found = kubeconfig(settings, tmp_path, "https://10.0.0.1:6443", user)
    found = replace(found, mode="tokenrequest", accounts=tmp_path / "accounts.yaml")
    with pytest.raises(UsageError, match="token of its own"):
        target_of(found)


def test_the_name_to_verify_may_differ_from_the_host(settings: AgentSettings, tmp_path: Path) -> None:
    found = kubeconfig(settings, tmp_path, "https://10.0.0.1:6443", "token: t", "tls-server-name: kubernetes")
    assert target_of(found).server_name == "kubernetes"


def test_a_proxy_is_refused_and_its_password_not_shown(settings: AgentSettings, tmp_path: Path) -> None:
    proxy = 'proxy-url: "http://user:s3cret@proxy:3128"'
    with pytest.raises(CommandFailed, match="proxy-url") as caught:
        target_of(kubeconfig(settings, tmp_path, "https://10.0.0.1:6443", "token: t", proxy))
    assert "s3cret" not in str(caught.value)


def test_the_credential_is_not_in_its_text(settings: AgentSettings) -> None:
    assert "credential" not in repr(target_of(settings))


def test_a_missing_authority_is_named(settings: AgentSettings, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"no-ca\.crt"):
        target_of(replace(settings, upstream_ca=tmp_path / "no-ca.crt"))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connections_are_dialled_so_that_a_dead_path_is_found_out(
    settings: AgentSettings, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[Any] = []

    async def dial(*where: Any, options: Any = None, **how: Any) -> None:
        dialled.append(options)

    monkeypatch.setattr("agent.upstream.target.dial_plain", dial)
    monkeypatch.setattr("agent.upstream.target.dial_tls", dial)
    target = target_of(replace(settings, upstream=f"{scheme}://10.0.0.1:6443"))
    await target.connect(UpstreamConnection(cast("Any", None), KnownAnswers()), 0.0)
    assert dialled == [UPSTREAM_LEG]
