"""A ceiling of reading only, as users of real kubectl binaries meet it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.binaries import Binary
from tests.scenarios.comparison import parametrised_binaries
from tests.scenarios.kubectl import Access, Kubectl
from tests.scenarios.read_only import check_that_nothing_else_does, check_that_reading_works, write_ceiling
from tests.scenarios.tunnel import Tunnel, running_tunnel

pytestmark = pytest.mark.parametrize("binary", parametrised_binaries())


@pytest.fixture(scope="module")
def read_only(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    folder = tmp_path_factory.mktemp("read-only")
    flags = ("--ceiling", str(write_ceiling(folder)))
    with running_tunnel(folder, simulator, agent_flags=flags) as tunnel:
        yield tunnel


@pytest.fixture
def kubectl(binary: Binary, read_only: Tunnel, directly: Access, tmp_path: Path) -> Kubectl:
    """On the tunnel, in the namespace that the pod was started in directly."""
    access = Access("read-only", read_only.kubeconfig, directly.namespace, "none", tmp_path, simulated=True)
    return Kubectl(binary, access)


def test_reading_works_under_a_read_only_ceiling(kubectl: Kubectl) -> None:
    check_that_reading_works(kubectl)


def test_anything_else_is_refused_and_the_ceiling_named(kubectl: Kubectl) -> None:
    check_that_nothing_else_does(kubectl)
