"""`cluster-tunnel certs revoke`, `denied` and `restore`, through the command's own entry."""

from pathlib import Path

import pytest

from certs.denied import DENIED, Denials, read_denials
from certs.peer import PeerReader
from tests.unit.certs.installation import Installation, der
from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


def certs(installation: Installation, *words: str) -> int:
    return main(["certs", *words, "--dir", str(installation.store.folder)])


def refused(installation: Installation, stem: str) -> bool:
    reader = PeerReader.load(installation.path("user-ca.crt"), installation.path("agent-ca.crt"))
    peer = reader.read(der(installation.store.files(stem).read()))
    return Denials(read_denials(installation.path(DENIED))).refuses(peer) is not None


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (["{folder}/user-alice.crt"], "user-alice"),
        (["user-alice"], "user-alice"),
        (["--serial", "{serial}"], "user-alice"),
        (["--user", "alice"], "user-alice"),
        (["--agent", "dev"], "agent-dev"),
    ],
)
def test_whatever_names_it_is_refused_from_now_on_and_nothing_else(
    installation: Installation, capsys: Output, words: list[str], who: str
) -> None:
    serial = installation.store.files("user-alice").read().certificate.serial_number
    shown = ":".join(f"{serial:040X}"[at : at + 2] for at in range(0, 40, 2))
    words = [word.format(folder=installation.store.folder, serial=shown) for word in words]
    assert certs(installation, "revoke", *words) == 0
    output = capsys.readouterr()
    assert output.out.startswith("revoked  ")
    assert f"stubs whose --ca-dir is {installation.store.folder} hear of it" in output.err
    assert ("renewed from it have other serials" in output.err) == (words[0][:6] not in ("--user", "--agen"))
    assert [stem for stem in ("user-alice", "agent-dev") if refused(installation, stem)] == [who]


def test_a_revocation_is_listed_and_taken_back_by_its_id(installation: Installation, capsys: Output) -> None:
    certs(installation, "revoke", "--user", "alice", "--for-good")
    certs(installation, "revoke", "--agent", "dev")
    capsys.readouterr()
    assert certs(installation, "denied") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "SINCE", "WHAT"]
    assert first.endswith("user alice, for good")
    assert "agents of dev, issued up to 20" in second
    assert certs(installation, "restore", first.split()[0]) == 0
    assert capsys.readouterr().out == "restored  user alice, for good\n"
    assert not refused(installation, "user-alice")
    assert refused(installation, "agent-dev")


def test_an_empty_list_says_so(installation: Installation, capsys: Output) -> None:
    assert certs(installation, "denied") == 0
    output = capsys.readouterr()
    assert (output.out, "nothing is revoked" in output.err) == ("", True)


@pytest.mark.parametrize("words", [["denied"], ["restore", "x"]])
def test_a_folder_that_is_not_there_is_no_empty_list(
    tmp_path: Path, capsys: Output, words: list[str]
) -> None:
    assert main(["certs", *words, "--dir", str(tmp_path / "cs")]) == 2
    assert f"--dir: {tmp_path}/cs: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["revoke"], 2, "one of the arguments"),
        (["revoke", "user-alice", "--user", "alice"], 2, "not allowed with"),
        (["revoke", "user-alice", "--for-good"], 2, "--for-good goes with --user or --agent"),
        (["revoke", "--user", ""], 2, "--user: a user name must not be empty"),
        (["revoke", "--agent", "Dev"], 2, "--agent: 'Dev' is not a cluster id"),
        (["revoke", "--serial", "xyz"], 2, "--serial: 'xyz' is not a serial number"),
        (["revoke", "--serial", "1" * 41], 2, "--serial: "),
        (["revoke", "nobody"], 1, "nobody: there is no such file"),
        (["revoke", "user-ca"], 1, "an authority is not revoked"),
        (["restore", "x"], 1, "there is no denial 'x'"),
    ],
)
def test_a_wrong_call_gives_one_line_and_revokes_nothing(
    installation: Installation, capsys: Output, words: list[str], code: int, reason: str
) -> None:
    assert certs(installation, *words) == code
    output = capsys.readouterr()
    assert reason in output.err
    assert (output.err.count("\n"), output.out) == (1, "")
    assert read_denials(installation.path(DENIED)) == []


@pytest.mark.parametrize("words", [["revoke"], ["denied"], ["restore"]])
def test_every_help_shows_an_example(capsys: Output, words: list[str]) -> None:
    assert main(["certs", *words, "--help"]) == 0
    assert f"  cluster-tunnel certs {words[0]}" in capsys.readouterr().out
