import pytest

from tunnel.core.errors import BadGateway, BadRequest
from tunnel.core.http.fields import sanitise_request
from tunnel.core.http.message import Field, ResponseHead
from tunnel.core.http.upgrade import (
    Upgrade,
    UpgradeOutcome,
    check_plain_status,
    check_upgrade_response,
    requested_upgrade,
    upgrade_outcome,
    upgrade_request_fields,
)


def _asking(upgrade: bytes, connection: bytes = b"Upgrade") -> list[Field]:
    return [(b"Connection", connection), (b"Upgrade", upgrade)]


@pytest.mark.parametrize(
    ("method", "upgrade", "connection", "kind"),
    [
        (b"GET", b"websocket", b"Upgrade", Upgrade.WEBSOCKET),
        (b"GET", b"WebSocket ", b"keep-alive, upgrade", Upgrade.WEBSOCKET),
        (b"POST", b"SPDY/3.1", b"Upgrade", Upgrade.SPDY),
        (b"GET", b"spdy/3.1", b" UPGRADE ", Upgrade.SPDY),
    ],
)
def test_the_two_upgrades_of_kubernetes_are_known(
    method: bytes, upgrade: bytes, connection: bytes, kind: Upgrade
) -> None:
    assert requested_upgrade(method, _asking(upgrade, connection)) is kind


@pytest.mark.parametrize(
    "connection", [b"close", b"x-upgrade", b"upgrade-insecure", b"upgradeX, keep-alive", b""]
)
def test_without_the_exact_connection_token_it_is_a_plain_request(connection: bytes) -> None:
    fields = _asking(b"websocket", connection)
    assert requested_upgrade(b"GET", fields) is None
    assert sanitise_request(fields) == []


def test_connection_upgrade_alone_is_a_plain_request() -> None:
    assert requested_upgrade(b"GET", [(b"Connection", b"upgrade")]) is None
    assert requested_upgrade(b"GET", []) is None


@pytest.mark.parametrize(
    "upgrade", [b"h2c", b"TLS/1.0", b"websocket, SPDY/3.1", b"SPDY/3", b"SPDY/3.10", b"", b"ws"]
)
def test_any_other_upgrade_is_refused_and_the_connection_ends(upgrade: bytes) -> None:
    with pytest.raises(BadRequest, match="websocket") as caught:
        requested_upgrade(b"GET", _asking(upgrade))
    assert caught.value.close


def test_two_upgrade_fields_are_refused() -> None:
    with pytest.raises(BadRequest):
        requested_upgrade(b"GET", [*_asking(b"websocket"), (b"upgrade", b"websocket")])


@pytest.mark.parametrize(
    ("method", "upgrade"),
    [(b"POST", b"websocket"), (b"HEAD", b"websocket"), (b"PUT", b"SPDY/3.1"), (b"HEAD", b"SPDY/3.1")],
)
def test_an_upgrade_with_another_method_is_refused(method: bytes, upgrade: bytes) -> None:
    with pytest.raises(BadRequest, match="needs the method"):
        requested_upgrade(method, _asking(upgrade))


@pytest.mark.parametrize("kind", Upgrade)
def test_what_is_written_for_an_upgrade_is_read_as_the_same(kind: Upgrade) -> None:
    fields = upgrade_request_fields(kind)
    assert requested_upgrade(b"GET", fields) is kind
    accept: list[Field] = [(b"Sec-WebSocket-Accept", b"x")]
    check_upgrade_response(kind, ResponseHead(101, [*fields, *accept]))


def test_a_101_opens_the_pipe_and_an_error_closes_behind_itself() -> None:
    assert upgrade_outcome(101) is UpgradeOutcome.SPLICE
    for status in (400, 401, 403, 404, 429, 500, 599):
        assert upgrade_outcome(status) is UpgradeOutcome.RELAY_THEN_CLOSE


@pytest.mark.parametrize("status", [100, 200, 204, 301, 302, 307, 399, 600, 99])
def test_any_other_answer_to_an_upgrade_is_a_bad_gateway(status: int) -> None:
    with pytest.raises(BadGateway, match=str(status)) as caught:
        upgrade_outcome(status)
    assert caught.value.close


def test_a_plain_request_never_gets_a_101_or_a_status_out_of_range() -> None:
    for status in (200, 304, 404, 599):
        check_plain_status(status)
    for status in (99, 100, 101, 103, 600, 999):
        with pytest.raises(BadGateway):
            check_plain_status(status)


@pytest.mark.parametrize(
    "head",
    [
        ResponseHead(200, _asking(b"SPDY/3.1")),
        ResponseHead(101, [(b"Connection", b"Upgrade")]),
        ResponseHead(101, [(b"Upgrade", b"SPDY/3.1")]),
        ResponseHead(101, _asking(b"SPDY/3.1", b"close")),
        ResponseHead(101, _asking(b"websocket")),
        ResponseHead(101, _asking(b"SPDY/3.1, websocket")),
        ResponseHead(101, [*_asking(b"SPDY/3.1"), (b"Upgrade", b"SPDY/3.1")]),
    ],
)
def test_a_101_that_does_not_grant_what_was_asked_is_a_bad_gateway(head: ResponseHead) -> None:
    with pytest.raises(BadGateway):
        check_upgrade_response(Upgrade.SPDY, head)


def test_a_websocket_101_needs_its_accept_field() -> None:
    with pytest.raises(BadGateway, match="Sec-WebSocket-Accept"):
        check_upgrade_response(Upgrade.WEBSOCKET, ResponseHead(101, _asking(b"websocket")))
    check_upgrade_response(Upgrade.SPDY, ResponseHead(101, _asking(b"spdy/3.1")))
