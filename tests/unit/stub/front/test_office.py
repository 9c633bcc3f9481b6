"""What all connections share: whom to ask, and what to say where nobody is there."""

import pytest

from stub.front.office import RECENTLY_SECONDS, STARTING_SECONDS
from tests.unit.fakes import Clock
from tests.unit.stub.parts import BLUE, Stub
from tunnel.core.errors import NotFound, Refusal, Unavailable
from tunnel.core.identifiers import ClusterId, audit_text

RED = ClusterId("red")


def refusal(stub: Stub, cluster: ClusterId = BLUE) -> Refusal:
    """Why nobody can be asked."""
    with pytest.raises(Refusal) as caught:
        stub.office.find_agent(cluster)
    return caught.value


async def test_a_connected_agent_is_asked(stub: Stub) -> None:
    agent = stub.agent()
    assert stub.office.find_agent(BLUE) is agent.link


async def test_shortly_after_the_start_an_unknown_cluster_may_still_come(stub: Stub, clock: Clock) -> None:
    await clock.advance(STARTING_SECONDS - 1)
    found = refusal(stub, RED)
    assert isinstance(found, Unavailable)
    assert found.retry_after is None


async def test_later_an_unknown_cluster_does_not_exist(stub: Stub, clock: Clock) -> None:
    await clock.advance(STARTING_SECONDS)
    assert isinstance(refusal(stub, RED), NotFound)


async def test_the_default_cluster_exists_always(stub: Stub, clock: Clock) -> None:
    await clock.advance(STARTING_SECONDS)
    found = refusal(stub, BLUE)
    assert isinstance(found, Unavailable)
    assert found.retry_after is None


@pytest.mark.parametrize(
    ("seconds", "retry_after"), [(0, 1), (RECENTLY_SECONDS - 1, 1), (RECENTLY_SECONDS, None)]
)
async def test_clients_try_again_only_while_the_last_agent_has_just_left(
    stub: Stub, clock: Clock, seconds: float, retry_after: int | None
) -> None:
    stub.agent().stream.lose()
    await clock.advance(seconds)
    found = refusal(stub)
    assert isinstance(found, Unavailable)
    assert found.retry_after == retry_after
    assert f"left {seconds:.0f} s ago" in found.message


@pytest.mark.parametrize(
    ("before", "seconds"),
    [(0.0, STARTING_SECONDS), (STARTING_SECONDS - 1, RECENTLY_SECONDS), (1000.0, RECENTLY_SECONDS)],
    ids=["just started", "while agents are looking for it", "long there"],
)
@pytest.mark.parametrize("cluster", [BLUE, RED])
async def test_who_became_active_expects_its_agents_for_a_while(
    stub: Stub, clock: Clock, before: float, seconds: float, cluster: ClusterId
) -> None:
    """Behind that, kubectl would try ten times for a cluster that does not exist."""
    await clock.advance(before)
    stub.office.became_active()
    await clock.advance(seconds - 1)
    found = refusal(stub, cluster)
    assert (type(found), found.retry_after) == (Unavailable, 1)
    await clock.advance(1)
    assert refusal(stub, cluster).retry_after is None


async def test_who_became_active_expects_agents_that_left_it_before(stub: Stub, clock: Clock) -> None:
    stub.agent().stream.lose()
    await clock.advance(1000)
    assert refusal(stub).retry_after is None
    stub.office.became_active()
    assert refusal(stub).retry_after == 1
    await clock.advance(RECENTLY_SECONDS)
    assert refusal(stub).retry_after is None


async def test_clients_try_again_while_every_agent_drains(stub: Stub) -> None:
    agent = stub.agent()
    agent.core.send_drain("bye")
    agent.say()
    found = refusal(stub)
    assert (found.code, found.retry_after) == (503, 1)
    assert "draining" in found.message


async def test_a_draining_stub_asks_nobody_and_closes(stub: Stub) -> None:
    stub.agent()
    stub.office.draining = True
    found = refusal(stub)
    assert (found.code, found.retry_after, found.close) == (503, 1, True)


async def test_audit_ids_differ_and_read_as_uuids(stub: Stub) -> None:
    ids = {stub.office.new_audit_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(audit) for audit in ids} == {16}
    text = audit_text(bytes(range(16)))
    assert text == "00010203-0405-0607-0809-0a0b0c0d0e0f"


async def test_it_is_empty_while_no_user_is_connected(stub: Stub) -> None:
    assert stub.office.empty.is_set()
    first, second = stub.user(), stub.user()
    first.stream.lose()
    assert not stub.office.empty.is_set()
    second.stream.lose()
    assert stub.office.empty.is_set()
    second.front.abort("twice")
    assert stub.office.empty.is_set()


class Standby:
    """Another stub is active."""

    def require_active(self) -> None:
        raise Unavailable("another is active", retry_after=1, close=True)


async def test_a_standby_asks_nobody_and_tells_no_cluster_from_another(stub: Stub) -> None:
    stub.agent()
    stub.office.leadership = Standby()
    for cluster in (BLUE, RED):
        assert refusal(stub, cluster).message == "another is active"


async def test_a_standby_that_stops_says_that_it_stops(stub: Stub) -> None:
    stub.office.leadership = Standby()
    stub.office.draining = True
    assert "shutting down" in refusal(stub).message
