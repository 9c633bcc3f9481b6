"""The stub's settings."""

import argparse
from pathlib import Path

import pytest

from stub.settings import StubSettings
from tunnel.core import limits
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import add_arguments, load
from tunnel.kit.values import Address


def loaded(*flags: str) -> StubSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser, StubSettings)
    return load(StubSettings, parser.parse_args(flags), {})


def test_the_defaults_are_those_of_the_documentation(tmp_path: Path) -> None:
    settings = loaded("--ca-dir", str(tmp_path))
    assert settings == StubSettings(ca_dir=tmp_path)
    assert settings.listen == Address("0.0.0.0", 8443)
    assert settings.agent_listen is None
    assert settings.admin_listen == Address("127.0.0.1", 8444)
    assert settings.audit is None
    assert settings.drain_grace == 30
    assert settings.head_timeout == limits.HEAD_SECONDS


def test_audit_goes_to_a_file_or_standard_output_or_is_off(tmp_path: Path) -> None:
    given = [loaded("--ca-dir", str(tmp_path), "--audit", text).audit for text in ("-", "a.log", "off")]
    assert given == ["-", "a.log", None]


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--domain", "clusters.example.com:8443", "is not a domain"),
        ("--domain", "", "is not a domain"),
        ("--domain", "a..b", "is not a domain"),
        ("--default-cluster", "Blue", "is not a cluster id"),
        ("--max-connections", "0", "from 1 to"),
        ("--head-timeout", "0s", "leaves no time"),
    ],
)
def test_a_wrong_value_is_refused_with_its_flag(tmp_path: Path, flag: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag}: .*{message}"):
        loaded("--ca-dir", str(tmp_path), flag, value)


def test_a_domain_is_compared_in_lower_case_and_without_dots_around_it(tmp_path: Path) -> None:
    assert (
        loaded("--ca-dir", str(tmp_path), "--domain", ".Clusters.Example.com.").domain
        == "clusters.example.com"
    )
