"""Go, in which kubectl and the apiserver are written, accepts what is issued."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.certs.installation import Installation

PROGRAM = Path(__file__).with_name("main.go")


@pytest.fixture(scope="module")
def verifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no go on PATH")
    binary = tmp_path_factory.mktemp("go") / "verify"
    subprocess.run([go, "build", "-o", binary, PROGRAM], check=True, timeout=240)
    return binary


def verify(verifier: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([verifier, folder], capture_output=True, text=True, timeout=30)


@pytest.mark.timeout(300)  # the first build compiles Go's own crypto packages
def test_go_accepts_every_chain_and_reads_the_names_in_order(verifier: Path, tmp_path: Path) -> None:
    result = verify(verifier, Installation.make(tmp_path / "ca").store.folder)
    assert result.returncode == 0, result.stdout
    assert result.stdout == 'alice ["devs" "ops"]\n'


@pytest.mark.timeout(300)
def test_go_refuses_a_leaf_of_another_authority(verifier: Path, tmp_path: Path) -> None:
    """So that the test above can fail."""
    installation = Installation.make(tmp_path / "ca")
    shutil.copy(installation.path("user-ca.crt"), installation.path("agent-ca.crt"))
    result = verify(verifier, installation.store.folder)
    assert result.returncode == 1
    assert "agent-dev : x509: certificate signed by unknown authority" in result.stdout
