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


async def test_when_it_moves_everything_its_users_have_under_way_ends_and_nothing_else(
    stub: Stub, clock: Clock
) -> None:
    blue, green = stub.agent("b", BLUE), stub.agent("g", GREEN)
    of_slot, seen_again, queued, other, idle = (stub.user() for _ in range(5))
    for number, user in enumerate((other, idle), 1):
        user.ask("GET /clusters/prod/api")
        blue.answer(number)
    of_slot.ask(WATCH)
    seen_again.ask(WATCH)  # by what its bytes were found to mean
    seen_again.ask("GET /clusters/green/api")
    for number in (3, 4):
        blue.channel().head(number)
    for user in (other, queued):
        user.ask("GET /clusters/green/api/v1/pods?watch=true")
    queued.ask("DELETE /clusters/prod/api/v1/namespaces/a")
    blue.stream.lose()
    await clock.advance(10)
    users = (of_slot, seen_again, queued, other, idle)
    assert [user.stream.aborted for user in users] == [True, True, True, False, False]
    assert len(green.asked()) == 2
    idle.ask(WATCH)
    assert len(green.asked()) == 1


async def test_a_request_is_not_asked_again_of_the_cluster_that_follows(stub: Stub, clock: Clock) -> None:
    blue, green = stub.agent("b", BLUE), stub.agent("g", GREEN)
    user = stub.user()
    user.ask(WATCH)
    assert len(blue.asked()) == 1
    blue.stream.lose()
    assert user.answer()[0] == 502
    user.ask(WATCH)
    assert user.answer()[0] == 503
    await clock.advance(10)
    assert green.asked() == []
    user.ask(WATCH)
    assert len(green.asked()) == 1
