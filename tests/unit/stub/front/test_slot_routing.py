"""What users of a slot reach, and what they see when it moves."""

import pytest

from tests.unit.fakes import Clock
from tests.unit.stub.parts import BLUE, Stub
from tunnel.core.identifiers import ClusterId

PROD, GREEN = ClusterId("prod"), ClusterId("green")
WATCH = "GET /clusters/prod/api/v1/pods?watch=true"


@pytest.fixture
async def stub(clock: Clock) -> Stub:
    return Stub(slots={PROD: (BLUE, GREEN)})


async def test_a_slot_is_asked_of_the_cluster_that_holds_it_and_of_no_other(stub: Stub) -> None:
    blue, green = stub.agent("b", BLUE), stub.agent("g", GREEN)
    for _ in range(20):
        stub.user().ask("GET /clusters/prod/api/v1/pods")
    assert len(blue.asked()) == 20
    assert green.asked() == []


async def test_a_slot_can_be_the_default(clock: Clock) -> None:
    stub = Stub(slots={PROD: (BLUE, GREEN)}, default_cluster=PROD)
    agent = stub.agent("b", BLUE)
    stub.user().ask()
    assert [request.head.target for request in agent.asked()] == [b"/api/v1/pods"]


async def test_while_nobody_holds_it_the_preferred_cluster_is_named(stub: Stub) -> None:
    user = stub.user()
    user.ask("GET /clusters/prod/api")
    status, _, body = user.answer()
    assert (status, b"'blue'" in body) == (503, True)


async def test_a_cluster_of_a_slot_can_still_be_asked_by_its_own_name(stub: Stub) -> None:
    stub.agent("b", BLUE)
    green = stub.agent("g", GREEN)
    stub.user().ask("GET /clusters/green/api")
    assert len(green.asked()) == 1


async def test_when_it_moves_everything_its_users_have_open_ends_and_nothing_else(
    stub: Stub, clock: Clock
) -> None:
    blue, green = stub.agent("b", BLUE), stub.agent("g", GREEN)
    of_slot, seen_again, other = stub.user(), stub.user(), stub.user()
    of_slot.ask(WATCH)
    seen_again.ask(WATCH)  # by what its bytes were found to mean
    other.ask("GET /clusters/green/api/v1/pods?watch=true")
    blue.asked()
    green.asked()
    blue.stream.lose()
    for user in (of_slot, seen_again):
        assert user.answer()[0] == 502  # its agent is gone, and a retry never crosses clusters
        user.ask(WATCH)
        assert user.answer()[0] == 503
    await clock.advance(10)
    assert [user.stream.aborted for user in (of_slot, seen_again, other)] == [True, True, False]
    assert green.asked() == []
    again = stub.user()
    again.ask(WATCH)
    assert len(green.asked()) == 1
