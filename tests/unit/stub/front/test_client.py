"""Who opened a connection, and what that decides for each of its requests."""

import pytest

from tests.unit.stub.parts import ALICE, FarAgent, FarChannel, Stub


async def test_a_user_is_who_opened_the_connection_and_dates_count_per_request(
    stub: Stub, agent: FarAgent, channel: FarChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = stub.user()
    user.ask()
    channel.answer(1)
    user.take()
    monkeypatch.setattr("stub.front.admission.time.time", lambda: 3e10)
    user.ask()
    assert user.answer()[0] == 401


async def test_who_is_refused_since_the_first_request_is_named_in_the_books(
    stub: Stub, agent: FarAgent, channel: FarChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = stub.user()
    user.ask()
    channel.answer(1)
    monkeypatch.setattr("stub.front.admission.time.time", lambda: 3e10)
    user.ask()
    refused, _ = stub.book.lines[-1]
    assert refused.status == 401
    assert refused.caller is not None
    assert refused.caller.peer is ALICE


async def test_without_a_certificate_every_request_is_401(stub: Stub, agent: FarAgent) -> None:
    user = stub.user(tls=None)
    for _ in range(2):
        user.ask()
        assert user.answer()[0] == 401
    assert agent.asked() == []


async def test_the_certificate_is_known_from_the_first_request_on(stub: Stub, agent: FarAgent) -> None:
    user = stub.user()
    client = user.front.client
    assert client.certificate is None
    user.ask()
    assert client.certificate is ALICE
