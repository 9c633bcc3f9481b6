"""How much one address, one user and one cluster may have open."""

from typing import cast

import pytest

from stub.count import Count
from stub.front.office import FrontOffice, Signing
from stub.front.quotas import QuotaLimits
from tests.unit.fakes import USER_TLS, Clock
from tests.unit.stub.parts import ALICE, BLUE, Stub, User, request_bytes
from tunnel.aio.stream import TlsFacts
from tunnel.core import limits
from tunnel.core.errors import TooManyRequests
from tunnel.core.http.message import Field

GET = request_bytes("GET /api/v1/pods")
WATCH = "GET /api/v1/pods?watch=true"


def limited(stub: Stub, **limits: int) -> FrontOffice:
    stub.office = FrontOffice(stub.admission, stub.registry, (stub.book,), quotas=QuotaLimits(**limits))
    return stub.office


def in_use(office: FrontOffice) -> list[int]:
    quotas = office.quotas
    return [
        len(each) for each in (quotas.addresses, quotas.user_connections, quotas._users, quotas._clusters)
    ]


def refusal(user: User) -> tuple[int, str, str]:
    status, fields, body = user.answer()
    assert b"which is the limit" in body
    return status, fields["retry-after"], fields.get("connection", "")


def test_a_key_that_is_not_in_use_takes_no_memory() -> None:
    count = Count(2, "things", TooManyRequests)
    count.take("a")
    count.take("a")
    with pytest.raises(TooManyRequests, match="2 things, which is the limit"):
        count.take("a")
    count.take("b")
    for key in ("a", "b", "a"):
        count.give_back(key)
    assert len(count) == 0


def test_no_limit_is_no_limit() -> None:
    count = Count(0, "things", TooManyRequests)
    for _ in range(10_000):
        count.take("a")


async def test_one_connection_too_many_from_an_address_is_told_so_and_closed(stub: Stub) -> None:
    office = limited(stub, connections_per_address=1)
    stub.agent()
    first, second = stub.user(), stub.user()
    second.ask()
    assert refusal(second) == (429, "1", "close")
    assert second.stream.closed
    first.stream.lose()
    third = stub.user()
    third.ask()
    assert third.take() == b""
    for user in (second, third):
        user.stream.lose()
    assert in_use(office) == [0, 0, 0, 0]


@pytest.mark.parametrize("tls", [USER_TLS, None], ids=["certificate", "none"])
async def test_a_connection_too_many_that_says_nothing_or_not_all_is_closed_soon(
    stub: Stub, clock: Clock, tls: TlsFacts | None
) -> None:
    limited(stub, connections_per_address=1)
    stub.user()
    silent, slow = stub.user(tls), stub.user(tls)
    await clock.advance(limits.TURN_AWAY_SECONDS / 2)
    assert not silent.stream.closing
    slow.send(GET[:10])
    await clock.advance(limits.TURN_AWAY_SECONDS / 2)
    assert silent.stream.closed
    assert slow.answer()[0] == 400
    await clock.advance(limits.LINGER_SECONDS)
    assert slow.stream.aborted


@pytest.mark.parametrize("target", ["/api", "/.cluster-tunnel/join"])
async def test_a_connection_too_many_is_told_so_and_closed_without_a_certificate_too(
    stub: Stub, target: str
) -> None:
    limited(stub, connections_per_address=1)
    stub.office.signing = cast("Signing", object())  # never asked
    stub.user()
    second = stub.user(tls=None)
    second.ask(f"GET {target}")
    assert refusal(second) == (429, "1", "close")
    assert second.stream.closed


async def test_who_opens_one_connection_too_many_is_in_the_books(stub: Stub) -> None:
    limited(stub, connections_per_address=1)
    stub.user()
    stub.user().ask()
    ((refused, _),) = stub.book.lines
    assert refused.caller is not None
    assert refused.caller.peer is ALICE


async def test_one_connection_too_many_of_a_user_is_told_so_and_closed(stub: Stub) -> None:
    office = limited(stub, connections_per_user=1)
    stub.agent()
    users = [stub.user(), stub.user()]
    for user in users:
        user.ask()
    assert users[0].take() == b""
    assert refusal(users[1]) == (429, "1", "close")
    for user in users:
        user.stream.lose()
    assert in_use(office) == [0, 0, 0, 0]


@pytest.mark.parametrize("limits", [{"requests_per_user": 2}, {"requests_per_cluster": 2}])
async def test_one_request_too_many_is_told_to_come_again(stub: Stub, limits: dict[str, int]) -> None:
    office = limited(stub, **limits)
    agent = stub.agent()
    users = [stub.user() for _ in range(3)]
    for user in users:
        user.ask(WATCH)
    assert refusal(users[2]) == (429, "1", "")
    users[0].stream.lose()
    users[2].ask(WATCH)
    assert len(agent.asked()) == 3
    for user in users[1:]:
        user.stream.lose()
    assert in_use(office) == [0, 0, 0, 0]


@pytest.mark.parametrize("upgrade", [False, True])
async def test_a_request_is_counted_out_however_it_ends(stub: Stub, upgrade: bool) -> None:
    office = limited(stub)
    agent = stub.agent()
    lines = ("Connection: Upgrade", "Upgrade: SPDY/3.1") if upgrade else ()
    answered, refused, left = (stub.user() for _ in range(3))
    for user in (answered, refused, left):
        user.ask("POST /api/v1/namespaces/a/pods/b/exec?command=id", *lines)
    agent.asked()
    fields: list[Field] = []
    agent.channel().answer(1, b"no", status=403, fields=fields)
    agent.refuse(2)
    left.stream.lose()
    assert office.quotas._users._used == {}
    assert BLUE not in office.quotas._clusters._used
    assert stub.book.codes == [403, 429, 0]


async def test_what_was_never_asked_is_not_counted(stub: Stub) -> None:
    office = limited(stub)
    user = stub.user(USER_TLS)
    user.ask()
    assert user.answer()[0] == 503
    assert office.quotas._users._used == {}
