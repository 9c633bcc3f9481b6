"""Fixtures for what the stub signs."""

from pathlib import Path

import pytest

from certs.denied import DenyList
from certs.followed import Followed
from tests.unit.certs.installation import Installation
from tests.unit.stub.signing.desk import Desk


@pytest.fixture(autouse=True)
def _look_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed files are felt at once."""
    for followed in (Followed, DenyList):
        monkeypatch.setattr(followed.__init__, "__defaults__", (0.0,))


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


@pytest.fixture
def desk(installation: Installation) -> Desk:
    return Desk(installation)
