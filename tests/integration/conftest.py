"""A whole tunnel for each test that asks for one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import tcp_sockets
from tests.integration.client import Client
from tests.integration.tunnel_fixture import Certificates, Tunnel
from tests.integration.upstream import Upstream
from tests.integration.waiting import until


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made once: keys take time."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def parts(certificates: Certificates, tmp_path: Path) -> AsyncIterator[Tunnel]:
    """A tunnel of which only the upstream runs; the test starts the rest."""
    before = tcp_sockets()
    tunnel = Tunnel(certificates, tmp_path)
    await tunnel.upstream.__aenter__()
    try:
        yield tunnel
    finally:
        await tunnel.stop()
        # The loop must run for this; what does not close here is a leak.
        await until(lambda: not tcp_sockets() - before)


@pytest.fixture
async def tunnel(parts: Tunnel) -> Tunnel:
    """A tunnel that serves: one stub, one agent of cluster `blue`."""
    await parts.start_stub()
    await parts.start_agent()
    return parts


@pytest.fixture
def upstream(tunnel: Tunnel) -> Upstream:
    """Its apiserver."""
    return tunnel.upstream


@pytest.fixture
async def client(tunnel: Tunnel) -> Client:
    """A connection of the user `jane`, of the groups `devs` and `ops`."""
    return await tunnel.connect()
