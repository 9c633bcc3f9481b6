"""Who one is behind the tunnel: the name in the certificate, or the agent's own where the owner chose that."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl, Same
from tests.scenarios.tunnel import Tunnel, running_tunnel

pytestmark = pytest.mark.parametrize("binary", parametrised_binaries())


@pytest.fixture(scope="module")
def impersonating(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    folder = tmp_path_factory.mktemp("impersonating")
    with running_tunnel(folder, simulator, mode="impersonate", user="jane", groups=("dev", "ops")) as tunnel:
        yield tunnel


@pytest.fixture
def jane(impersonating: Tunnel, tmp_path: Path) -> Access:
    return Access("jane", impersonating.kubeconfig, "default", "none", tmp_path, simulated=True)


def test_case_25_whoami_names_the_certificates_user_and_groups(binary: Binary, jane: Access) -> None:
    kubectl = Kubectl(binary, jane)
    if not binary.is_at_least(28):
        pytest.skip("this kubectl asks for versions of the API that newer clusters have no more")
    shown = kubectl.run("auth", "whoami", "-o", "json", same=Same.NOWHERE)
    user = json.loads(shown.stdout)["status"]["userInfo"]
    assert user["username"] == "jane"
    assert sorted(user["groups"]) == ["dev", "ops", "system:authenticated"]


def test_a_user_who_impersonates_another_is_refused(binary: Binary, jane: Access) -> None:
    refused = Kubectl(binary, jane).run("delete", "configmap", "any", "--as=viewer", code=1)
    assert "Forbidden" in refused.stderr
    assert "mpersonat" in refused.stderr
