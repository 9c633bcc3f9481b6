"""What the command says when it is called wrongly: one clear line and the right exit code."""

import socket
from pathlib import Path

import pytest

from tests.scenarios.tunnel import CLUSTER, cluster_tunnel, make_certificates

_AGENT = ("agent", "--stub", "localhost:1")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def _complaint(*arguments: str, code: int) -> str:
    said = cluster_tunnel(*arguments, code=code).stderr
    assert said.count("\n") == 1, said
    assert said.startswith("cluster-tunnel: "), said
    return said


def test_an_unknown_flag_is_named() -> None:
    assert "--listn" in _complaint("stub", "--listn", "127.0.0.1:0", code=2)


def test_an_unknown_command_is_named() -> None:
    assert "stubb" in _complaint("stubb", code=2)


def test_a_missing_flag_is_named() -> None:
    assert "--ca-dir" in _complaint("stub", code=2)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert missing in _complaint("stub", "--ca-dir", missing, code=2)


def test_a_folder_without_certificates_is_said_to_be_so(tmp_path: Path) -> None:
    said = _complaint(
        "stub", "--ca-dir", str(tmp_path), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", code=1
    )
    assert str(tmp_path) in said


def test_a_busy_port_is_named(certificates: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        flags = ("--ca-dir", str(certificates), "--listen", address, "--admin-listen", "127.0.0.1:0")
        assert address in _complaint("stub", *flags, code=1)


def test_an_agent_without_a_cluster_says_what_is_missing(certificates: Path) -> None:
    pair = str(certificates / f"agent-{CLUSTER}")
    files = ("--cert", f"{pair}.crt", "--key", f"{pair}.key", "--ca", str(certificates / "server-ca.crt"))
    assert "--upstream or --kubeconfig" in _complaint(*_AGENT, *files, code=2)


def test_an_agents_missing_certificate_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.crt")
    assert missing in _complaint(*_AGENT, "--cert", missing, "--key", missing, "--ca", missing, code=2)
