"""kubectl cp: files arrive whole, both ways."""

import hashlib
import os
import tempfile
from pathlib import Path

from tests.scenarios.catalogue import scenario
from tests.scenarios.kubectl import Kubectl, Same

_MIB = 1024 * 1024


@scenario(cases=(17,), every_version=True)
def cp_brings_files_both_ways(kubectl: Kubectl) -> None:
    """A file of 3 MiB is copied into the pod and back with equal checksums."""
    _copy_there_and_back(kubectl, 3 * _MIB, seconds=40)


@scenario(cases=(17,), slow=True, seconds=300)
def cp_brings_200_mb_both_ways(kubectl: Kubectl) -> None:
    """A file of 200 MB is copied into the pod and back with equal checksums."""
    _copy_there_and_back(kubectl, 200_000_000, seconds=150)


def _copy_there_and_back(kubectl: Kubectl, size_bytes: int, seconds: float) -> None:
    remote = f"/tmp/copied{kubectl.suffix}"
    with tempfile.TemporaryDirectory() as folder:
        sent, back = Path(folder, "sent"), Path(folder, "back")
        _fill(sent, size_bytes)
        there = kubectl.run("cp", str(sent), f"shell:{remote}", same=Same.NOWHERE, seconds=seconds)
        summed = kubectl.run("exec", "shell", "--", "md5sum", remote, same=Same.NOWHERE, seconds=seconds)
        again = kubectl.run("cp", f"shell:{remote}", str(back), same=Same.NOWHERE, seconds=seconds)
        kubectl.run("exec", "shell", "--", "rm", remote)
        assert summed.stdout.split()[0] == _checksum(sent)
        assert _checksum(back) == _checksum(sent)
    megabytes = size_bytes / 1e6
    kubectl.measured[f"cp of {megabytes:.0f} MB into the pod, MB/s"] = megabytes / there.seconds
    kubectl.measured[f"cp of {megabytes:.0f} MB out of the pod, MB/s"] = megabytes / again.seconds


@scenario()
def cp_brings_folders_and_empty_files(kubectl: Kubectl) -> None:
    """A folder with an empty file and a name with a space is copied into the pod and back."""
    remote = f"/tmp/folder{kubectl.suffix}"
    with tempfile.TemporaryDirectory() as folder:
        source, back = Path(folder, "source"), Path(folder, "back")
        (source / "deep").mkdir(parents=True)
        (source / "empty").touch()
        (source / "deep" / "a name").write_text("text")
        kubectl.run("cp", str(source), f"shell:{remote}", same=Same.NOWHERE)
        kubectl.run("cp", f"shell:{remote}", str(back), same=Same.NOWHERE)
        kubectl.run("exec", "shell", "--", "rm", "-r", remote)
        assert (back / "empty").read_bytes() == b""
        assert (back / "deep" / "a name").read_text() == "text"


@scenario()
def cp_of_what_is_not_there_fails(kubectl: Kubectl) -> None:
    """cp of a missing file says so and fails."""
    with tempfile.TemporaryDirectory() as folder:
        kubectl.run("cp", f"shell:/tmp/none{kubectl.suffix}", f"{folder}/none", code=None, same=Same.NOWHERE)
        assert not Path(folder, "none").exists()


def _fill(file: Path, size_bytes: int) -> None:
    block = os.urandom(_MIB)
    with file.open("wb") as sink:
        for written in range(0, size_bytes, _MIB):
            sink.write(block[: min(_MIB, size_bytes - written)])


def _checksum(file: Path) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, "md5").hexdigest()
