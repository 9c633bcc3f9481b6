"""What a user reads when the tunnel cannot or must not serve a request."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl, Result, Same
from tests.scenarios.tunnel import Tunnel, make_certificates, running_tunnel

pytestmark = pytest.mark.parametrize("binary", parametrised_binaries())


@pytest.fixture(scope="module")
def lonely(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    """A stub that no agent ever dialled."""
    with running_tunnel(tmp_path_factory.mktemp("lonely"), simulator, agents=0) as tunnel:
        yield tunnel


def _get_pods(binary: Binary, kubeconfig: Path, home: Path) -> Result:
    access = Access("refused", kubeconfig, "default", "none", home, simulated=True)
    return Kubectl(binary, access).run("get", "pods", code=1, same=Same.NOWHERE)


def test_case_30_without_an_agent_the_reason_is_shown_at_once(
    binary: Binary, lonely: Tunnel, tmp_path: Path
) -> None:
    refused = _get_pods(binary, lonely.kubeconfig, tmp_path)
    assert refused.seconds < 2
    assert "Warning" in refused.stderr, refused.stderr
    assert "no agent" in refused.stderr, refused.stderr


def test_case_33_an_unknown_cluster_is_named(binary: Binary, tunnel: Tunnel, tmp_path: Path) -> None:
    kubeconfig = _for_cluster(tunnel.kubeconfig, "elsewhere", tmp_path)
    refused = _get_pods(binary, kubeconfig, tmp_path)
    assert refused.seconds < 4
    assert "elsewhere" in refused.stderr, refused.stderr


def _for_cluster(kubeconfig: Path, cluster: str, folder: Path) -> Path:
    document = yaml.safe_load(kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] += f"/clusters/{cluster}"
    path = folder / "elsewhere"
    path.write_text(yaml.safe_dump(document))
    path.chmod(0o600)
    return path


def test_a_cluster_named_in_the_path_is_served(binary: Binary, tunnel: Tunnel, tmp_path: Path) -> None:
    kubeconfig = tunnel.make_kubeconfig("joe", "dev", options=(), name=f"by-path-{binary.label}")
    access = Access("by path", kubeconfig, "default", "none", tmp_path, simulated=True)
    named = Kubectl(binary, access).run("get", "namespace", "default", "-o", "name")
    assert named.stdout == "namespace/default\n"


def test_an_expired_certificate_is_said_to_be_expired(binary: Binary, tunnel: Tunnel, tmp_path: Path) -> None:
    options = ("--default", "--ttl", "1s")
    kubeconfig = tunnel.make_kubeconfig("late", "dev", options=options, name=f"expired-{binary.label}")
    # There is nothing to wait for but the clock.
    time.sleep(2)
    refused = _get_pods(binary, kubeconfig, tmp_path)
    assert refused.seconds < 4
    assert "expired" in refused.stderr, refused.stderr


def test_case_50_a_certificate_of_another_authority_is_refused_soon(
    binary: Binary, tunnel: Tunnel, tmp_path: Path
) -> None:
    make_certificates(tmp_path)
    strangers = Tunnel(tmp_path, tunnel.upstream, "token", port=tunnel.port)
    kubeconfig = strangers.make_kubeconfig("stranger", "dev")
    document = yaml.safe_load(kubeconfig.read_text())
    ours = yaml.safe_load(tunnel.kubeconfig.read_text())
    document["clusters"] = ours["clusters"]
    document["contexts"][0]["context"]["cluster"] = ours["clusters"][0]["name"]
    kubeconfig.write_text(yaml.safe_dump(document))
    refused = _get_pods(binary, kubeconfig, tmp_path)
    assert refused.seconds < 4
    assert any(word in refused.stderr for word in ("tls:", "logged in", "certificate")), refused.stderr
