"""Settings about certificates."""

import argparse
from pathlib import Path

import pytest

from certs.foreign import UserAuthority
from stub.settings import StubSettings
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import add_arguments, load, render


def loaded(folder: Path, *flags: str) -> StubSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, StubSettings)
    return load(StubSettings, parser.parse_args(["--ca-dir", str(folder), *flags]), {})


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = loaded(tmp_path)
    assert settings == StubSettings(ca_dir=tmp_path)
    assert (settings.agent_ttl, settings.login_ttl, settings.login_max_age) == (2592000, 43200, 2592000)
    assert (settings.sweep_interval, settings.signing_attempts) == (5, 60)
    assert (settings.oidc_username_claim, settings.oidc_groups_claim) == ("sub", "groups")
    assert (settings.oidc_username_prefix, settings.oidc_groups_prefix) == ("oidc:", "oidc:")


def test_further_authorities_have_a_prefix_or_none(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    settings = loaded(tmp_path, "--user-ca", f"corp:={file}", "--user-ca", str(file))
    assert settings.user_ca == (UserAuthority(file, "corp:"), UserAuthority(file))
    assert f"- corp:={file}" in render(settings)


def test_a_prefix_can_be_left_out(tmp_path: Path) -> None:
    assert loaded(tmp_path, "--oidc-username-prefix", "off").oidc_username_prefix is None


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--oidc-issuer", "https://issuer"], "--oidc-issuer needs --oidc-audience"),
        (["--oidc-audience", "kubectl"], "--oidc-audience needs --oidc-issuer"),
        (["--oidc-require", "hd=x"], "--oidc-require needs --oidc-issuer"),
        (["--oidc-issuer", "http://issuer"], "--oidc-issuer: .* is not https"),
        (["--oidc-require", "hd"], "--oidc-require: 'hd' is not CLAIM=VALUE"),
        (["--user-ca", "nowhere"], "--user-ca: .* there is no file 'nowhere'"),
        (["--agent-ttl", "0s"], "--agent-ttl: '0s' leaves no time"),
        (["--signing-attempts", "0"], "--signing-attempts: '0' is not a whole number from 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_flag(tmp_path: Path, flags: list[str], reason: str) -> None:
    with pytest.raises(UsageError, match=f"^{reason}"):
        loaded(tmp_path, *flags)


def test_an_issuer_is_kept_to_the_last_slash(tmp_path: Path) -> None:
    """Tokens are compared with it as it is."""
    settings = loaded(tmp_path, "--oidc-issuer", "https://issuer/", "--oidc-audience", "kubectl")
    assert settings.oidc_issuer == "https://issuer/"
