"""`cluster-tunnel certs`, through the command's own entry."""

import os
from pathlib import Path

import pytest

from certs.peer import PeerCertificate, PeerReader, agent_cluster, user_names
from certs.store import CertificateStore
from tests.unit.certs.installation import der
from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ca"


@pytest.fixture
def made(folder: Path, capsys: Output) -> Path:
    assert main(["certs", "init", "--dir", str(folder)]) == 0
    capsys.readouterr()
    return folder


def certs(folder: Path, *words: str) -> int:
    return main(["certs", *words, "--dir", str(folder)])


def peer_of(folder: Path, stem: str) -> PeerCertificate:
    reader = PeerReader.load(folder / "user-ca.crt", folder / "agent-ca.crt")
    return reader.read(der(CertificateStore(folder).files(stem).read()))


def test_all_that_an_installation_needs_is_made_unattended(folder: Path, capsys: Output) -> None:
    """The calls of the benchmark harness, word for word."""
    for words in (
        ["init"],
        ["server", "--host", "localhost"],
        ["agent", "bench"],
        ["user", "alice", "-g", "devs"],
    ):
        assert main(["certs", *words, "--dir", str(folder)]) == 0
    stems = {"server-ca", "user-ca", "agent-ca", "server", "agent-bench", "user-alice"}
    pairs = {f"{stem}.{end}" for stem in stems for end in ("crt", "key")}
    assert set(os.listdir(folder)) == pairs | {"denied.json", ".lock"}
    assert agent_cluster(peer_of(folder, "agent-bench")) == "bench"
    assert user_names(peer_of(folder, "user-alice")) == ("alice", ("devs",))
    assert capsys.readouterr().err == ""


def test_init_says_what_it_made_and_what_it_kept(folder: Path, capsys: Output) -> None:
    certs(folder, "init")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["made"] * 3
    (folder / "agent-ca.crt").unlink()
    (folder / "agent-ca.key").unlink()
    certs(folder, "init")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["kept", "kept", "made"]


def test_what_was_written_is_listed_in_columns(folder: Path, capsys: Output) -> None:
    certs(folder, "init")
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index("until") for line in lines}) == 1
    assert all(
        f"{folder}/{name}.crt" in line
        for line, name in zip(lines, ("server-ca", "user-ca", "agent-ca"), strict=True)
    )


def test_hosts_may_follow_one_flag_or_several(made: Path, capsys: Output) -> None:
    assert certs(made, "server", "--host", "a.example.com", "10.0.0.9", "--host", "*.b.example.com") == 0
    capsys.readouterr()
    certs(made, "show", "server")
    assert "a.example.com, 10.0.0.9, *.b.example.com, localhost, 127.0.0.1, ::1" in capsys.readouterr().out


@pytest.mark.parametrize(("ttl", "shown"), [("30m", "29 min"), ("12h", "11 h"), ("90d", "89 d")])
def test_the_time_to_live_is_kept(made: Path, capsys: Output, ttl: str, shown: str) -> None:
    assert certs(made, "user", "alice", "--ttl", ttl) == 0
    certs(made, "show", "user-alice")
    assert f"expires in {shown}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["agent", "Bad_Id"], "CLUSTER: 'Bad_Id' is not a cluster id"),
        (["agent", "a" * 64], "is not a cluster id"),
        (["user", ""], "NAME: a user name must not be empty"),
        (["user", "a" * 65], "longer than 64"),
        (["user", "名" * 64], "too long for a file name"),
        (["user", "alice", "-g", ""], "-g: a group must not be empty"),
        (["user", "alice", "--ttl", "5"], "--ttl: '5' is not a duration"),
        (["user", "alice", "--ttl", "0"], "--ttl: a certificate must be valid for at least one second"),
        (["user", "alice", "--ttl", "9999999d"], "--ttl: a certificate cannot be valid beyond the year 9999"),
        (["user", "alice", "--ttl", f"{'9' * 40}d"], "--ttl: "),
        (["server", "--host", "https://stub"], "--host: 'https://stub' is not a host"),
        (["server"], "--host"),
        ([], "COMMAND"),
        (["revive"], "revive"),
    ],
)
def test_a_wrong_call_gives_one_line_and_exit_code_2(
    made: Path, capsys: Output, words: list[str], reason: str
) -> None:
    before = set(os.listdir(made))
    assert certs(made, *words) == 2
    output = capsys.readouterr()
    assert reason in output.err
    assert output.err.count("\n") == 1
    assert output.out == ""
    assert set(os.listdir(made)) == before


def test_without_authorities_the_next_step_is_told(folder: Path, capsys: Output) -> None:
    assert certs(folder, "agent", "dev") == 1
    error = capsys.readouterr().err
    assert (
        f"{folder}/agent-ca.crt: there is no such file; `cluster-tunnel certs init --dir {folder}`" in error
    )
    assert error.count("\n") == 1


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "file").touch()
    assert certs(tmp_path / "file" / "ca", "init") == 1
    assert f"{tmp_path}/file: is not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["user", "system:admin"], ["user", "alice", "-g", "system:masters"]])
def test_a_reserved_name_is_made_with_a_warning(made: Path, capsys: Output, words: list[str]) -> None:
    assert certs(made, *words) == 0
    output = capsys.readouterr()
    assert output.err.startswith("warning: stub and agent refuse 'system:")
    assert output.out.startswith("made")


def test_show_finds_a_file_by_path_and_by_name(made: Path, capsys: Output) -> None:
    for name in (str(made / "user-ca.crt"), "user-ca.crt", "user-ca"):
        assert certs(made, "show", name) == 0
        assert "CN=cluster-tunnel user-ca" in capsys.readouterr().out


def test_show_fails_where_something_is_wrong(made: Path, capsys: Output) -> None:
    (made / "user-ca.key").chmod(0o644)
    assert certs(made, "show", "user-ca") == 1
    assert "problem      user-ca.key is open to others" in capsys.readouterr().out
    assert certs(made, "show", "nothing") == 1
    assert "nothing: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["init"], ["server"], ["agent"], ["user"], ["show"]])
def test_every_help_shows_an_example(capsys: Output, words: list[str]) -> None:
    assert main(["certs", *words, "--help"]) == 0
    assert f"  cluster-tunnel certs {' '.join(words)}" in capsys.readouterr().out


def test_the_help_of_server_says_what_is_always_in_it(capsys: Output) -> None:
    main(["certs", "server", "--help"])
    assert "localhost, 127.0.0.1 and ::1 are always in it" in capsys.readouterr().out
