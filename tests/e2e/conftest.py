"""A real cluster, a tunnel to it, the simulator beside it, and the ways to them: one of each per test process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.access import open_access
from tests.scenarios.kubectl import Access
from tests.scenarios.reporting import write_measurements
from tests.scenarios.simulator import running_simulator
from tests.scenarios.tunnel import Tunnel, running_tunnel

_NO_CLUSTER = "no cluster: give --kubeconfig FILE"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("e2e", "tests on a real cluster")
    group.addoption(
        "--kubeconfig", help="the cluster, as its kubeconfig's current context; never from the environment"
    )
    group.addoption(
        "--image",
        default="localhost/busybox:1",
        help="an image with a shell and busybox that its nodes have or can pull, such as docker.io/library/busybox:1",
    )
    group.addoption(
        "--apiserver-audit-log",
        metavar="FILE",
        help="where its apiserver writes its audit log, if that can be read here",
    )
    group.addoption(
        "--tunnel-image",
        metavar="NAME:TAG",
        help="the project's own image, where its nodes have or can pull it",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    missing = not config.getoption("--kubeconfig", None)
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if missing:
                item.add_marker(pytest.mark.skip(reason=_NO_CLUSTER))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    write_measurements(terminalreporter, "tests/e2e/")


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Path:
    path = Path(request.config.getoption("--kubeconfig")).expanduser().resolve()
    assert path.is_file(), f"--kubeconfig {path}: there is no such file"
    return path


@pytest.fixture(scope="session")
def image(request: pytest.FixtureRequest) -> str:
    return str(request.config.getoption("--image"))


@pytest.fixture(scope="session")
def tunnel(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    with running_tunnel(tmp_path_factory.mktemp("tunnel"), cluster) as running:
        yield running


@pytest.fixture(scope="session")
def directly(cluster: Path, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    with open_access(
        "directly", cluster, tmp_path_factory.mktemp("home"), image=image, simulated=False
    ) as access:
        yield access


@pytest.fixture(scope="session")
def through(tunnel: Tunnel, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    home = tmp_path_factory.mktemp("home")
    with open_access("through", tunnel.kubeconfig, home, image=image, simulated=False) as access:
        yield access


@pytest.fixture(scope="session")
def simulated(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    """The simulator, reached directly."""
    home = tmp_path_factory.mktemp("home")
    with (
        running_simulator(tmp_path_factory.mktemp("simulator")) as kubeconfig,
        open_access("simulated", kubeconfig, home, image=image, simulated=True) as access,
    ):
        yield access
