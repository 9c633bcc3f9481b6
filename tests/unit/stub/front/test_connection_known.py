"""Requests whose fields a connection has seen before: nobody can tell them from those that were parsed."""

import pytest

from tests.unit.stub.parts import FarAgent, FarChannel, Stub, request_bytes


@pytest.mark.parametrize(
    "lines", [(), ("Accept: */*", "X-Remote-User: eve", "Te: trailers"), ("Authorization: Bearer a",)]
)
async def test_a_request_whose_fields_were_seen_before_is_asked_as_if_it_were_parsed(
    stub: Stub, agent: FarAgent, channel: FarChannel, lines: tuple[str, ...]
) -> None:
    user = stub.user()
    heads = []
    for number, cut in enumerate((0, 10, 0, 0), 1):  # one that comes in two pieces is always parsed
        data = request_bytes(f"GET /api/{number}?a=b", *lines)
        user.send(data[:cut]) if cut else None
        user.send(data[cut:])
        (request,) = agent.asked()
        heads.append((request.head.target, request.head.fields))
        channel.answer(request.id, b"{}")
        assert user.answer()[0] == 200
    assert heads == [(b"/api/%d?a=b" % number, heads[0][1]) for number in (1, 2, 3, 4)]


async def test_a_request_whose_fields_were_seen_before_is_refused_as_if_it_were_parsed(
    stub: Stub, agent: FarAgent, channel: FarChannel
) -> None:
    user = stub.user()
    user.ask("GET /api")
    channel.answer(1)
    user.take()
    for target, code in (("/a\\b", 400), ("/Clusters/x/", 400)):
        again = stub.user()
        again.ask(f"GET {target}")
        assert again.answer()[0] == code
    stub.office.draining = True
    user.ask("GET /api")
    assert user.answer()[0] == 503
    assert user.stream.closing
