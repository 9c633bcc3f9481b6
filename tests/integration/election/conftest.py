"""A small apiserver and a client of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from stub.election.api import KubernetesApi
from tests.integration.election.apiserver import Apiserver, running_apiserver, write_kubeconfig


@pytest.fixture
async def server() -> AsyncIterator[Apiserver]:
    async with running_apiserver() as running:
        yield running


@pytest.fixture
async def api(server: Apiserver, tmp_path: Path) -> AsyncIterator[KubernetesApi]:
    client = KubernetesApi(write_kubeconfig(tmp_path / "kubeconfig", server.url, {"token": "secret\n"}))
    await client.open()
    yield client
    await client.close()
