"""`cluster-tunnel token`, through the command's own entry."""

from pathlib import Path

import pytest

from certs.lifetime import utc_now
from certs.pem import PemFile
from certs.store import CertificateStore
from certs.tokenfile import TokenFile
from certs.tokens import parse_token, pin_of
from tunnel.cli.main import main

Output = pytest.CaptureFixture[str]


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    CertificateStore(tmp_path / "ca").make_authorities(utc_now())
    return tmp_path / "ca"


def token(ca: Path, *words: str) -> int:
    return main(["token", *words, "--dir", str(ca)])


def created(ca: Path, capsys: Output, *words: str) -> str:
    assert token(ca, "create", "prod", *words) == 0
    return capsys.readouterr().out.strip()


def test_standard_output_is_the_token_and_nothing_else(ca: Path, capsys: Output) -> None:
    assert token(ca, "create", "prod") == 0
    output = capsys.readouterr()
    made = parse_token(output.out)
    assert made.pin == pin_of(PemFile(ca / "server-ca.crt"))
    assert output.err.startswith(f"token {made.id}: one agent of prod may join until 20")
    (record,) = TokenFile(ca).records()
    assert made.is_of(record.digest)
    assert (record.uses, (record.expires - record.created).total_seconds()) == (1, 3600)


def test_uses_life_and_rebinding_are_what_the_flags_say(ca: Path, capsys: Output) -> None:
    created(ca, capsys, "--uses", "20", "--ttl", "24h", "--rebind")
    (record,) = TokenFile(ca).records()
    assert (record.uses, record.rebind) == (20, True)
    assert (record.expires - record.created).total_seconds() == 86400


def test_a_folder_without_the_key_of_agents_is_warned_about(ca: Path, capsys: Output) -> None:
    (ca / "agent-ca.key").unlink()
    assert token(ca, "create", "prod") == 0
    assert "agent-ca.key is not there; a stub without it lets nobody join" in capsys.readouterr().err


def test_the_list_says_how_each_token_stands_and_shows_no_secret(ca: Path, capsys: Output) -> None:
    text = created(ca, capsys, "--uses", "2")
    id = parse_token(text).id
    TokenFile(ca).redeem(parse_token(text), "key", "uid", utc_now(), str)
    other = parse_token(created(ca, capsys)).id
    assert token(ca, "revoke", other) == 0
    assert capsys.readouterr().out == f"revoked  {other}  prod  used 0 of 1\n"
    assert token(ca, "list") == 0
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["ID", "CLUSTER", "USED", "EXPIRES", "STATE"]
    assert first.split()[:3] == [id, "prod", "1/2"]
    assert first.endswith("UTC  good")
    assert f"{other}  prod     0/1" in second
    assert "was revoked on" in second
    assert text.split(".")[2] not in first


def test_revoking_a_used_token_says_what_it_leaves(ca: Path, capsys: Output) -> None:
    text = created(ca, capsys)
    TokenFile(ca).redeem(parse_token(text), "key", "uid", utc_now(), str)
    assert token(ca, "revoke", parse_token(text).id) == 0
    assert "certs revoke --agent prod" in capsys.readouterr().err


def test_an_empty_list_says_what_to_do(ca: Path, capsys: Output) -> None:
    assert token(ca, "list") == 0
    output = capsys.readouterr()
    assert (output.out, "token create CLUSTER" in output.err) == ("", True)


@pytest.mark.parametrize("words", [["list"], ["revoke", "x"], ["create", "prod"]])
def test_a_folder_that_is_not_there_is_no_empty_list(
    tmp_path: Path, capsys: Output, words: list[str]
) -> None:
    assert token(tmp_path / "cs", *words) == 2
    assert f"--dir: {tmp_path}/cs: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["create", "Prod"], 2, "CLUSTER: 'Prod' is not a cluster id"),
        (["create", "prod", "--ttl", "0s"], 2, "--ttl: '0s' leaves no time"),
        (["create", "prod", "--uses", "0"], 2, "--uses: '0' is not a whole number from 1 to 10000"),
        (["create", "prod", "--uses", "10001"], 2, "--uses:"),
        (["create"], 2, "CLUSTER"),
        (["revoke", "x"], 1, "there is no token 'x'"),
        ([], 2, "COMMAND"),
    ],
)
def test_a_wrong_call_gives_one_line(
    ca: Path, capsys: Output, words: list[str], code: int, reason: str
) -> None:
    assert token(ca, *words) == code
    output = capsys.readouterr()
    assert reason in output.err
    assert (output.err.count("\n"), output.out) == (1, "")
    assert TokenFile(ca).records() == []


def test_a_folder_without_authorities_is_named(tmp_path: Path, capsys: Output) -> None:
    assert token(tmp_path, "create", "prod") == 1
    assert f"{tmp_path}/server-ca.crt: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["create"], ["list"], ["revoke"]])
def test_every_help_shows_an_example(capsys: Output, words: list[str]) -> None:
    assert main(["token", *words, "--help"]) == 0
    assert f"  cluster-tunnel token {' '.join(words)}" in capsys.readouterr().out
