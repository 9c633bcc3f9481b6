"""Fixtures for certificates."""

from pathlib import Path

import pytest

from certs.peer import PeerReader
from tests.unit.certs.installation import Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """One for all tests: nobody may change its files."""
    return Installation.make(tmp_path_factory.mktemp("installation"))


@pytest.fixture
def reader(installation: Installation) -> PeerReader:
    return PeerReader.load(installation.path("user-ca.crt"), installation.path("agent-ca.crt"))


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    """One that the test may spoil."""
    return Installation.make(tmp_path / "ca")
