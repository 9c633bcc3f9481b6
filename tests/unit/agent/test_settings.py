"""The agent's settings."""

import argparse
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.dialling.proxyrules import ProxyUrl
from agent.settings import NO_FILE, AgentSettings, with_defaults
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import add_arguments, load, render
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


# The mode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "tokenrequest"}, "--mode tokenrequest needs --accounts"),
        ({"accounts": FILE}, "--accounts goes with --mode tokenrequest, and --mode is impersonate"),
        (
            {"mode": "token", "allow_impersonation": True},
            "--allow-impersonation goes with --mode impersonate",
        ),
        (
            {"mode": "token", "impersonate_extra": ("address",)},
            "--impersonate-extra goes with --mode impersonate",
        ),
    ],
)
def test_what_a_mode_needs_or_does_not_know_is_said(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        replace(SETTINGS, **given)


def test_extras_are_named_one_by_one() -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, AgentSettings)
    given = [
        "--stub",
        "s:1",
        "--state",
        ".",
        "--impersonate-extra",
        "address",
        "--impersonate-extra",
        "request",
    ]
    settings = load(AgentSettings, parser.parse_args(given), {})
    assert settings.impersonate_extra == ("address", "request")
    with pytest.raises(UsageError, match="'name' is none of certificate, address, request"):
        load(AgentSettings, parser.parse_args([*given, "--impersonate-extra", "name"]), {})


def test_whoever_only_passes_tokens_through_needs_none(tmp_path: Path, account: Path) -> None:
    through = replace(SETTINGS, mode="passthrough")
    by_url = with_defaults(replace(through, upstream="https://x"), POD)
    assert by_url.token_file is None
    bare = with_defaults(through, POD, tmp_path / "none")
    assert (bare.token_file, bare.upstream_ca) == (None, tmp_path / "none" / "ca.crt")
    assert with_defaults(through, POD, account).token_file == account / "token"


# The proxy -----------------------------------------------------------------------------------------

PROXIED = {**POD, "HTTPS_PROXY": "http://ann:geheim@proxy:3128", "NO_PROXY": "a.b,10.0.0.0/8"}


def test_the_proxy_is_the_environments_where_none_is_given(account: Path) -> None:
    found = with_defaults(SETTINGS, PROXIED, account)
    assert found.proxy == ProxyUrl("proxy", 3128, username="ann", password="geheim")
    assert found.no_proxy == ("a.b", "10.0.0.0/8", "localhost", "127.0.0.0/8", "::1")
    assert with_defaults(SETTINGS, POD, account).proxy == "off"


def test_a_proxy_that_is_given_is_asked_for_localhost_too(account: Path) -> None:
    given = replace(SETTINGS, proxy=ProxyUrl("other", 1))
    assert with_defaults(given, PROXIED, account).proxy == ProxyUrl("other", 1)
    assert with_defaults(given, PROXIED, account).no_proxy == ("a.b", "10.0.0.0/8")
    assert with_defaults(replace(given, no_proxy=("c",)), PROXIED, account).no_proxy == ("c",)


def test_off_keeps_the_environments_proxy_away(account: Path) -> None:
    assert with_defaults(replace(SETTINGS, proxy="off"), PROXIED, account).proxy == "off"


def test_no_password_is_shown(account: Path) -> None:
    found = with_defaults(SETTINGS, PROXIED, account)
    assert "geheim" not in render(found) + repr(found)
    assert "proxy: http://ann:<hidden>@proxy:3128" in render(found)


def test_credentials_in_two_places_are_refused() -> None:
    with pytest.raises(UsageError, match="--proxy-credentials and a proxy URL with a user name"):
        replace(SETTINGS, proxy=ProxyUrl("p", 1, username="ann"), proxy_credentials=FILE)


@pytest.mark.parametrize(("text", "seconds"), [("1m", 60.0), ("off", None)])
def test_facts_are_gathered_once_a_minute_at_most(text: str, seconds: float | None, account: Path) -> None:
    given = {name: str(account / "token") for name in ("cert", "key", "ca")}
    options = argparse.Namespace(stub=["s:1"], facts_interval=text, **given)
    assert load(AgentSettings, options, {}).facts_interval == seconds
    options.facts_interval = "59s"
    with pytest.raises(UsageError, match="--facts-interval: '59s' is too often"):
        load(AgentSettings, options, {})


def test_an_identity_is_given_whole_or_got_by_joining(tmp_path: Path) -> None:
    stub = (Address("stub", 8443),)
    joining = AgentSettings(stub=stub, state=tmp_path, join_file=FILE)
    assert (joining.cert, joining.key, joining.ca) == (NO_FILE, NO_FILE, NO_FILE)
    for flag in ("cert", "key", "ca"):
        with pytest.raises(UsageError, match=f"--{flag} is missing: give --cert, --key and --ca, or --state"):
            replace(SETTINGS, **{flag: NO_FILE})
        with pytest.raises(UsageError, match=f"--{flag} and --state exclude each other"):
            replace(joining, **{flag: FILE})


@pytest.mark.parametrize(
    ("field", "value"), [("join", "token"), ("join_file", FILE), ("join_at", Address("stub", 1))]
)
def test_what_belongs_to_joining_needs_a_state_folder(field: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')} needs --state"):
        replace(SETTINGS, **{field: value})


def test_a_token_is_given_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--join and --join-file exclude each other"):
        AgentSettings(stub=(Address("stub", 8443),), state=tmp_path, join="t", join_file=FILE)


def test_a_token_is_shown_nowhere(tmp_path: Path) -> None:
    settings = AgentSettings(stub=(Address("stub", 8443),), state=tmp_path, join="ctjoin1.secret")
    assert "secret" not in repr(settings)
    assert "secret" not in render(settings)


def test_settings_of_an_agent_that_joins_are_read_back_as_they_are_printed(tmp_path: Path) -> None:
    settings = AgentSettings(
        stub=(Address("stub", 8443),), name="a", state=tmp_path / "not made yet", join_file=tmp_path / "gone"
    )
    (tmp_path / "config").write_text(render(settings))
    parser = argparse.ArgumentParser()
    add_arguments(parser, AgentSettings)
    options = parser.parse_args(["--config", str(tmp_path / "config")])
    assert load(AgentSettings, options, {}) == settings
