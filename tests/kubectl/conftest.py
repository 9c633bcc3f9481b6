"""A simulated cluster, a tunnel to it, and both ways there: one of each per test process."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.access import open_access
from tests.scenarios.kubectl import Access
from tests.scenarios.recorder import Recorder, recording
from tests.scenarios.reporting import write_measurements
from tests.scenarios.simulator import running_simulator
from tests.scenarios.tunnel import Tunnel, running_tunnel

IMAGE = "busybox:1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kubectl)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    write_measurements(terminalreporter, "tests/kubectl/")


@pytest.fixture(scope="session")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_simulator(tmp_path_factory.mktemp("simulator")) as kubeconfig:
        yield kubeconfig


@pytest.fixture(scope="session")
def tunnel(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    with running_tunnel(tmp_path_factory.mktemp("tunnel"), simulator) as running:
        yield running


@pytest.fixture(scope="session")
def directly(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    home = tmp_path_factory.mktemp("directly")
    with open_access("directly", simulator, home, image=IMAGE, simulated=True) as access:
        yield access


@pytest.fixture(scope="session")
def through(tunnel: Tunnel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Access]:
    home = tmp_path_factory.mktemp("through")
    with open_access("through", tunnel.kubeconfig, home, image=IMAGE, simulated=True) as access:
        yield access


@pytest.fixture(scope="session")
def recorder(simulator: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """A recorder in front of the simulator."""
    with recording(simulator, tmp_path_factory.mktemp("recorder")) as running:
        yield running


@pytest.fixture(scope="session")
def recorded_tunnel(recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunnel]:
    """A tunnel whose cluster is the recorder."""
    with running_tunnel(tmp_path_factory.mktemp("recorded"), recorder.kubeconfig) as running:
        yield running


@pytest.fixture
def recorded(
    recorded_tunnel: Tunnel, recorder: Recorder, directly: Access, tmp_path: Path
) -> Iterator[Access]:
    """The way through that tunnel, into the same namespace as directly; nothing is recorded or answered yet."""
    recorder.forget()
    yield Access("recorded", recorded_tunnel.kubeconfig, directly.namespace, IMAGE, tmp_path, simulated=True)
    recorder.forget()
