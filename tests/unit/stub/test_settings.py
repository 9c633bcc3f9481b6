"""The stub's settings."""

import argparse
import re
from pathlib import Path

import pytest

from stub.election.choice import FileLease, NoLease
from stub.election.timing import ElectionTiming
from stub.settings import StubSettings
from tunnel.core import limits
from tunnel.kit.failures import UsageError
from tunnel.kit.settings import add_arguments, load, render
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
    assert settings.lease == NoLease()
    assert settings.timing == ElectionTiming()
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
        ("--splice-drain", "30001ms", "agents keep to 30s, and 30s1ms is more"),
        ("--lease", "etcd:a", "is no lease"),
        ("--lease-duration", "1500ms", "is not a whole number of seconds"),
        ("--pod-name", "Stub", "is not the name of a Pod"),
        ("--pod-selector", "", "is not a label selector"),
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


# The lease ---------------------------------------------------------------------------------------

KUBERNETES = ("--lease", "kubernetes:ns/stub")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--lease-duration", "10s"),
            "--lease-duration must be more than --lease-renew-deadline (10s), not 10s",
        ),
        (
            ("--lease-renew-deadline", "2400ms"),
            "--lease-renew-deadline must be more than --lease-retry with its jitter (2.4s), not 2.4s",
        ),
        (("--lease-duration", "2h"), "--lease-duration must be at most 3600s, not 7200s"),
        (
            (*KUBERNETES, "--pod-name", "one"),
            "--pod-name and --pod-selector go together: give both or neither",
        ),
        (
            (*KUBERNETES, "--pod-selector", "a=b"),
            "--pod-name and --pod-selector go together: give both or neither",
        ),
        (
            ("--pod-name", "one", "--pod-selector", "a=b"),
            "--pod-name needs --lease kubernetes:NAMESPACE/NAME, and --lease is none",
        ),
        (
            ("--lease-kubeconfig", __file__),
            "--lease-kubeconfig needs --lease kubernetes:NAMESPACE/NAME, and --lease is none",
        ),
    ],
)
def test_settings_of_the_lease_that_contradict_each_other_are_named(
    tmp_path: Path, flags: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
        loaded("--ca-dir", str(tmp_path), *flags)


def test_the_settings_of_a_lease_are_shown_as_they_were_given(tmp_path: Path) -> None:
    flags = ("--lease-duration", "6s", "--lease-renew-deadline", "4s", "--lease-retry", "500ms")
    settings = loaded("--ca-dir", str(tmp_path), "--lease", f"file:{tmp_path}/lease", *flags)
    assert settings.lease == FileLease(tmp_path / "lease")
    assert settings.timing == ElectionTiming(lease_seconds=6, renew_deadline_seconds=4.0, retry_seconds=0.5)
    shown = render(settings).splitlines()
    wanted = {
        f"lease: file:{tmp_path}/lease",
        "lease-duration: 6s",
        "lease-renew-deadline: 4s",
        "lease-retry: 500ms",
    }
    assert wanted <= set(shown)


def test_a_slot_names_its_clusters_in_order(tmp_path: Path) -> None:
    settings = loaded("--ca-dir", str(tmp_path), "--slot", "prod=blue:green", "--slot", "dev=red")
    assert settings.slot == (("prod", ("blue", "green")), ("dev", ("red",)))
    assert "prod=blue:green" in render(settings)


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (["prod=blue:blue"], "names something twice"),
        (["prod=prod"], "names something twice"),
        (["prod"], "'prod' is not a slot: give NAME=CLUSTER:CLUSTER"),
        (["prod=blue", "prod=green"], "'prod' is named twice"),
        (["prod=blue", "dev=prod"], "'prod' is named twice"),
    ],
)
def test_a_slot_that_could_mean_two_things_is_refused(tmp_path: Path, slots: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaded("--ca-dir", str(tmp_path), *(word for slot in slots for word in ("--slot", slot)))


def test_recordings_are_off_and_then_of_output_alone(tmp_path: Path) -> None:
    folder = ("--ca-dir", str(tmp_path), "--record-exec", str(tmp_path))
    assert loaded("--ca-dir", str(tmp_path)).record_exec is None
    settings = loaded(*folder)
    assert (settings.record_exec_input, settings.record_exec_required) == (False, False)
    assert "record-exec-max-size: 256MiB" in render(settings)
    assert loaded(*folder, "--record-exec-max-size", "0").record_exec_max_size == 0


@pytest.mark.parametrize("flag", ["--record-exec-input", "--record-exec-required"])
def test_how_to_record_without_where_to_is_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag} needs --record-exec"):
        loaded("--ca-dir", str(tmp_path), flag)
