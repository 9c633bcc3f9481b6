"""What an agent that joined keeps."""

import stat
from pathlib import Path

import pytest

from certs import files
from certs.agentstate import NEW_KEY, PAIR, AgentState
from certs.contexts import agent_context
from certs.csr import read_request
from certs.errors import CertificateProblem
from certs.issue import sign_agent
from certs.peer import cluster_uid_of
from certs.pem import certificates_pem
from certs.signed import Signed
from tests.unit.certs.installation import Installation, lasting


@pytest.fixture
def state(tmp_path: Path) -> AgentState:
    return AgentState(tmp_path / "state")


def answer(installation: Installation, request: bytes) -> Signed:
    authority = installation.store.authority("agent-ca")
    certificate = sign_agent(authority, "dev", "uid", read_request(request), lasting())
    return Signed(certificates_pem([certificate]), installation.store.authority_pem("server-ca"))


def test_there_is_nothing_before_the_first_certificate(state: AgentState) -> None:
    assert state.pair() is None


def test_a_certificate_is_kept_with_its_key_where_tls_can_use_it(
    state: AgentState, installation: Installation
) -> None:
    key, request = state.request()
    expires = state.keep(answer(installation, request), key)
    pair = state.pair()
    assert pair is not None
    assert pair.certificate.not_valid_after_utc == expires
    assert cluster_uid_of(pair.certificate) == "uid"
    agent_context(state.pair_path, state.pair_path, state.authority_path, ["cluster-tunnel/1"])


def test_nobody_else_can_read_key_or_folder(state: AgentState, installation: Installation) -> None:
    key, request = state.request()
    folder = state.pair_path.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / NEW_KEY).stat().st_mode) == 0o600
    state.keep(answer(installation, request), key)
    assert stat.S_IMODE(state.pair_path.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.iterdir()) == [PAIR, "server-ca.crt"]


def test_the_name_of_the_last_token_is_kept(state: AgentState) -> None:
    assert state.token_id() is None
    for id in ("7065e32ad4", "517e21cb00"):
        state.remember_token(id)
        assert AgentState(state.pair_path.parent).token_id() == id


def test_another_try_asks_for_the_same_key_also_behind_a_crash(state: AgentState) -> None:
    """So that it is the same use of the join token."""
    key, request = state.request()
    again, _ = AgentState(state.pair_path.parent).request()
    assert again == key
    assert read_request(request) == read_request(state.request()[1])


def test_the_next_certificate_has_another_key(state: AgentState, installation: Installation) -> None:
    key, request = state.request()
    state.keep(answer(installation, request), key)
    assert state.request()[0] != key


def test_a_broken_key_of_a_try_is_replaced(state: AgentState) -> None:
    (state.pair_path.parent / NEW_KEY).write_bytes(b"")
    key, _ = state.request()
    assert key.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_a_crash_between_the_two_files_leaves_a_certificate_that_can_be_used(
    state: AgentState, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, request = state.request()
    state.keep(answer(installation, request), key)
    before = state.pair_path.read_bytes()
    replace_file = files.replace_file

    def crash(path: Path, content: bytes, mode: int) -> None:
        if path == state.pair_path:
            raise CertificateProblem("no space left")
        replace_file(path, content, mode)

    key, request = state.request()
    monkeypatch.setattr(files, "replace_file", crash)
    with pytest.raises(CertificateProblem):
        state.keep(answer(installation, request), key)
    assert state.pair_path.read_bytes() == before
    assert state.pair() is not None


def test_a_certificate_for_another_key_is_not_kept(state: AgentState, installation: Installation) -> None:
    key, request = state.request()
    state.keep(answer(installation, request), key)
    before = state.pair_path.read_bytes()
    with pytest.raises(CertificateProblem, match="does not belong"):
        state.keep(answer(installation, request), state.request()[0])
    assert state.pair_path.read_bytes() == before


def test_a_broken_state_is_an_error_and_not_a_reason_to_join_again(state: AgentState) -> None:
    state.pair_path.write_text("x")
    with pytest.raises(CertificateProblem, match="is not PEM"):
        state.pair()
