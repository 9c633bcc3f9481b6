"""The cluster's own credential."""

import base64
from pathlib import Path

import pytest

from agent.upstream.credential import REREAD_SECONDS, BasicPassword, NoToken, StaticToken, TokenFile
from tunnel.kit.failures import CommandFailed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def sent(credential: TokenFile, now: float) -> bytes:
    ((name, value),) = credential.fields(now)
    assert name == b"Authorization"
    return value


def test_a_client_certificate_sends_no_field() -> None:
    assert NoToken().fields(0.0) == []


@pytest.mark.parametrize("token", ["abc.DEF-1_2~3+/=", "kubeconfig-u-x:secret"])
def test_a_static_token_is_sent_as_it_is(token: str) -> None:
    assert StaticToken(token).fields(0.0) == [(b"Authorization", f"Bearer {token}".encode())]


@pytest.mark.parametrize("token", ["", "two words", "line\nX-Injected: 1", "line\r", "\x7f", "é"])
def test_a_static_token_that_would_break_the_field_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(CommandFailed) as caught:
        StaticToken(token)
    assert "Injected" not in str(caught.value)


def test_a_password_is_sent_in_base_64() -> None:
    ((_, value),) = BasicPassword("admin", "pass:wörd").fields(0.0)
    assert base64.b64decode(value.removeprefix(b"Basic ")).decode() == "admin:pass:wörd"


async def test_what_does_not_change_cannot_be_renewed() -> None:
    for credential in (NoToken(), StaticToken("t"), BasicPassword("a", "b")):
        assert not credential.can_renew
        before = credential.fields(0.0)
        await credential.renew()
        assert credential.fields(0.0) == before


def test_a_token_file_is_read_again_when_it_is_old_enough(path: Path) -> None:
    credential = TokenFile(path)
    assert sent(credential, 1.0) == b"Bearer first"
    path.write_text("second")
    assert sent(credential, REREAD_SECONDS - 1) == b"Bearer first"
    assert sent(credential, REREAD_SECONDS) == b"Bearer second"


async def test_a_401_reads_it_at_once(path: Path) -> None:
    credential = TokenFile(path)
    path.write_text("second")
    await credential.renew()
    assert sent(credential, 1.0) == b"Bearer second"


@pytest.mark.parametrize("content", ["", "\n", "two words", "a\nX-Injected: 1"])
def test_a_file_that_is_being_written_leaves_the_old_token_in_force(path: Path, content: str) -> None:
    credential = TokenFile(path)
    path.write_text(content)
    assert sent(credential, 100.0) == b"Bearer first"
    path.write_text("second")
    assert sent(credential, 200.0) == b"Bearer second"


def test_a_file_that_disappears_leaves_the_old_token_in_force(path: Path) -> None:
    credential = TokenFile(path)
    path.unlink()
    assert sent(credential, 100.0) == b"Bearer first"


@pytest.mark.parametrize("content", ["", "two words"])
def test_a_file_without_a_token_is_refused_at_the_start(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(CommandFailed, match="holds no bearer token"):
        TokenFile(path)


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        TokenFile(tmp_path / "none")
