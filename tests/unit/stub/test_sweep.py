"""What loses what it has open when its certificate no longer stands."""

from typing import Any, cast

import pytest

from stub.sweep import Sweep
from tests.unit.stub.parts import AGENT, ALICE, FarAgent, KnownStanding, Stub, User, with_dates

SPDY = ("Connection: Upgrade", "Upgrade: SPDY/3.1")


@pytest.fixture
def standing() -> KnownStanding:
    return KnownStanding()


@pytest.fixture
def sweep(stub: Stub, standing: KnownStanding) -> Sweep:
    return Sweep(cast("Any", standing), stub.office, stub.registry, [])


def watching(stub: Stub) -> User:
    user = stub.user()
    user.ask("GET /api/v1/pods?watch=true")
    return user


async def test_what_stands_is_left_alone(stub: Stub, sweep: Sweep) -> None:
    agent = stub.agent()
    agent.link.peer = AGENT
    user = watching(stub)
    sweep.sweep(0)
    assert not user.stream.closing
    assert not agent.link.runner.closed


async def test_a_user_who_is_revoked_loses_what_is_open(
    stub: Stub, sweep: Sweep, standing: KnownStanding
) -> None:
    agent = stub.agent()
    user, idle = watching(stub), stub.user()
    standing.revoked.add(ALICE.fingerprint)
    sweep.sweep(0)
    assert user.stream.aborted
    assert not idle.stream.closing  # nobody is known there yet, and the first request will be refused
    assert stub.book.reasons == ["client gone: it is revoked"]
    assert len(agent.heard()) == 2  # the request, and that nobody wants its answer


async def test_a_user_whose_time_is_over_loses_what_is_open(stub: Stub, sweep: Sweep) -> None:
    stub.agent()
    user = watching(stub)
    caller = user.front.client.caller
    assert caller is not None
    object.__setattr__(caller, "peer", with_dates(ALICE, 0, 1))
    sweep.sweep(0)
    assert user.stream.aborted


async def test_an_agent_that_is_revoked_loses_its_session_and_its_channels(
    stub: Stub, sweep: Sweep, standing: KnownStanding
) -> None:
    agent = stub.agent()
    agent.link.peer = AGENT
    channel = agent.channel()
    user = watching(stub)
    agent.asked()
    channel.head(1)
    standing.revoked.add(AGENT.fingerprint)
    sweep.sweep(0)
    assert agent.link.runner.closed
    assert channel.stream.closing
    assert user.stream.was_cut


async def test_what_an_agent_whose_certificate_ran_out_is_answering_goes_on(stub: Stub, sweep: Sweep) -> None:
    """It has renewed, and this session is only what was open before."""
    agent: FarAgent = stub.agent()
    agent.link.peer = with_dates(AGENT, 0, 1)
    channel = agent.channel()
    user = watching(stub)
    agent.asked()
    channel.head(1)
    sweep.sweep(0)
    assert agent.link.runner.closed
    channel.data(b"event")
    assert b"event" in user.take()


@pytest.mark.parametrize("session", ["lives", "ended"])
async def test_an_agent_that_is_revoked_loses_its_pipes(
    stub: Stub, sweep: Sweep, standing: KnownStanding, session: str
) -> None:
    agent = stub.agent()
    agent.link.peer = AGENT
    channel, user = agent.channel(), stub.user()
    user.ask("POST /api/v1/namespaces/a/pods/b/exec?command=sh", *SPDY)
    channel.head(1, 101, [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")])
    if session == "ended":
        agent.stream.receive_end()
    user.send(b"ls")
    assert channel.stream.take().endswith(b"ls")
    standing.revoked.add(AGENT.fingerprint)
    sweep.sweep(0)
    assert user.stream.aborted
    assert channel.stream.aborted
    assert stub.book.reasons == ["it is revoked"]


async def test_an_agent_that_ended_its_session_before_it_was_revoked_keeps_nothing(
    stub: Stub, sweep: Sweep, standing: KnownStanding
) -> None:
    agent = stub.agent()
    agent.link.peer = AGENT
    channel, user = agent.channel(), watching(stub)
    agent.asked()
    channel.head(1)
    agent.stream.receive_end()
    assert not channel.stream.closing
    standing.revoked.add(AGENT.fingerprint)
    sweep.sweep(0)
    assert channel.stream.closing
    assert user.stream.was_cut
    assert stub.book.reasons == ["cut: it is revoked"]


class Listening:
    def __init__(self) -> None:
        self.context: object = None

    def set_context(self, context: object) -> None:
        self.context = context


class Changing:
    def __init__(self) -> None:
        self.value = "old"

    def current(self, now: float) -> str:
        self.value = "new" if now else "old"
        return self.value


async def test_a_listener_gets_the_new_certificate(stub: Stub, standing: KnownStanding) -> None:
    listener = Listening()
    sweep = Sweep(
        cast("Any", standing), stub.office, stub.registry, [(cast("Any", listener), cast("Any", Changing()))]
    )
    sweep.sweep(0)
    assert listener.context is None
    sweep.sweep(1)
    assert listener.context == "new"
