"""What becomes of a connection that an agent opened."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest

from certs.errors import PeerRefused
from certs.peer import PeerCertificate
from stub.agents.acceptance import AgentAcceptance
from stub.agents.channel import ResponseChannel
from stub.agents.registry import Registry
from tests.unit.fakes import FakeStream
from tests.unit.stub.parts import AGENT, HELLO, standing, with_dates
from tunnel.aio.session import SessionRunner
from tunnel.aio.stream import StreamHandler, TlsFacts
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.wire.control import CHANNEL_ALPN, SESSION_ALPN, Reject, StubHello

TLS = TlsFacts("TLSv1.3", SESSION_ALPN, None, b"agent")


def refusal(certificate: bytes | None = b"agent", alpn: str = CHANNEL_ALPN, **known: PeerCertificate) -> str:
    """Why an acceptance refuses a connection."""
    with pytest.raises(PeerRefused) as refused:
        accepted(alpn, certificate, **known)
    return str(refused.value)


def rejection(certificate: bytes = b"agent", version: str = "TLSv1.3", **known: PeerCertificate) -> str:
    """What an agent is told that asks for a session and gets none."""
    stream = FakeStream()
    stream.open(accepted(SESSION_ALPN, certificate, version, **known))
    (said,) = AgentSession(0.0).receive(stream.take(), 0.0)
    assert isinstance(said, Reject)
    assert stream.closed
    return said.reason


def accepted(
    alpn: str = SESSION_ALPN,
    certificate: bytes | None = b"agent",
    version: str = "TLSv1.3",
    **known: PeerCertificate,
) -> StreamHandler:
    """What an acceptance makes of a connection."""
    acceptance = AgentAcceptance(Registry(), standing(**known), HELLO)
    return acceptance.accept(TlsFacts(version, alpn, None, certificate), "192.0.2.9")


async def test_the_protocol_agreed_on_decides_between_session_and_channel() -> None:
    assert isinstance(accepted(SESSION_ALPN), SessionRunner)
    assert isinstance(accepted(CHANNEL_ALPN), ResponseChannel)


async def test_each_session_hears_which_other_stubs_are_known_at_that_moment() -> None:
    acceptance = AgentAcceptance(Registry(), standing(), HELLO)
    known: set[str] = set()
    acceptance.known_instances = lambda: tuple(known)
    said = []
    for instance in ("", "stub-2", "stub-1"):
        known = {instance} - {""}
        session, stream = acceptance.accept(TLS, "192.0.2.9"), FakeStream()
        stream.open(session)
        core = AgentSession(asyncio.get_running_loop().time())
        (hello,) = core.receive(stream.take(), 0.0)
        assert isinstance(hello, StubHello)
        said.append(hello.instances)
        stream.lose()
    assert said == [("stub-1",), ("stub-1", "stub-2"), ("stub-1",)]


@pytest.mark.parametrize("refused", [refusal, rejection])
async def test_a_users_certificate_is_refused_on_both(
    refused: Callable[[bytes], str], caplog: pytest.LogCaptureFixture
) -> None:
    assert "not an agent's" in refused(b"alice")
    assert "not an agent's" in vars(caplog.records[0])["reason"]


@pytest.mark.parametrize("alpn", [SESSION_ALPN, CHANNEL_ALPN])
async def test_a_connection_without_a_certificate_is_refused(
    alpn: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert refusal(None, alpn) == "it shows no certificate"
    assert vars(caplog.records[0])["reason"] == "it shows no certificate"


async def test_agents_speak_tls_1_3_alone() -> None:
    assert rejection(version="TLSv1.2") == "agents speak TLS 1.3, not TLSv1.2"
    with pytest.raises(PeerRefused, match=r"TLS 1\.3, not TLSv1\.2"):
        accepted(CHANNEL_ALPN, version="TLSv1.2")


@pytest.mark.parametrize(("not_before", "not_after"), [(0, 1), (2e10, 3e10)])
async def test_a_certificate_outside_its_dates_is_refused(
    not_before: float, not_after: float, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert refusal(agent=with_dates(AGENT, not_before, not_after))
    assert vars(caplog.records[0])["address"] == "192.0.2.9"


async def test_a_certificate_that_names_no_cluster_is_refused() -> None:
    assert "0 URIs" in refusal(agent=replace(AGENT, uris=()))


async def test_an_agent_without_a_session_hears_why_and_nothing_else_of_the_stub(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert rejection(agent=replace(AGENT, uris=())) == vars(caplog.records[0])["reason"]
