"""The agent's settings."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from agent.settings import AgentSettings, with_defaults
from tunnel.kit.failures import UsageError
from tunnel.kit.values import Address

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
FILE = Path("f")

SETTINGS = AgentSettings(stub=(Address("stub", 8443),), cert=FILE, key=FILE, ca=FILE)


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """A Pod's service account."""
    (tmp_path / "token").write_text("t")
    (tmp_path / "ca.crt").write_text("c")
    return tmp_path


def test_in_a_pod_apiserver_and_credential_are_the_pods_own(account: Path) -> None:
    settings = with_defaults(SETTINGS, POD, account)
    assert settings.upstream == "https://10.96.0.1:443"
    assert settings.token_file == account / "token"
    assert settings.upstream_ca == account / "ca.crt"


def test_in_a_pod_an_ipv6_apiserver_is_put_in_brackets(account: Path) -> None:
    settings = with_defaults(SETTINGS, {"KUBERNETES_SERVICE_HOST": "fd00::1"}, account)
    assert settings.upstream == "https://[fd00::1]:443"


def test_in_a_pod_another_token_can_be_given(account: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("o")
    assert with_defaults(replace(SETTINGS, token_file=other), POD, account).token_file == other


def test_a_pod_without_a_token_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="automountServiceAccountToken"):
        with_defaults(SETTINGS, POD, tmp_path)


def test_a_kubeconfig_or_an_upstream_takes_nothing_from_the_pod(account: Path) -> None:
    by_file = with_defaults(replace(SETTINGS, kubeconfig=FILE), POD, account)
    assert (by_file.upstream, by_file.token_file) == (None, None)
    by_url = with_defaults(replace(SETTINGS, upstream="https://x", token_file=FILE), POD, account)
    assert (by_url.upstream, by_url.token_file, by_url.upstream_ca) == ("https://x", FILE, None)


def test_outside_a_pod_a_cluster_must_be_named() -> None:
    with pytest.raises(UsageError, match="give --upstream or --kubeconfig"):
        with_defaults(SETTINGS, {})


def test_an_upstream_needs_a_credential() -> None:
    with pytest.raises(UsageError, match="--upstream needs --token-file"):
        with_defaults(replace(SETTINGS, upstream="https://x"), POD)


def test_the_name_is_the_hosts_where_none_is_given(account: Path) -> None:
    assert with_defaults(SETTINGS, POD, account).name == socket.gethostname()
    assert with_defaults(replace(SETTINGS, name="a"), POD, account).name == "a"


@pytest.mark.parametrize(
    ("flag", "field", "value"),
    [
        ("--upstream", "upstream", "https://x"),
        ("--upstream-ca", "upstream_ca", FILE),
        ("--token-file", "token_file", FILE),
    ],
)
def test_what_contradicts_a_kubeconfig_is_refused_naming_both(flag: str, field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{flag} and --kubeconfig exclude each other"):
        replace(SETTINGS, kubeconfig=FILE, **{field: value})


def test_other_contradictions_are_refused_naming_both() -> None:
    with pytest.raises(UsageError, match="--context chooses within --kubeconfig"):
        replace(SETTINGS, context="blue")
    with pytest.raises(UsageError, match="--channels-floor 9 is above --channels-limit 8"):
        replace(SETTINGS, channels_floor=9, channels_limit=8)
    with pytest.raises(UsageError, match="--stub is missing"):
        replace(SETTINGS, stub=())
