"""The endpoints: what is asked how often, and what is remembered of it."""

import logging

import pytest

from certs.csr import make_key
from certs.signed import BODY_BYTES, JOIN, LOGIN, RENEW
from stub.signing.attempts import Attempts
from stub.signing.event import SigningEvent
from tests.unit.certs.installation import Installation
from tests.unit.stub.signing.desk import UID, Desk


async def test_anybody_may_ask_who_signed_the_stub(desk: Desk) -> None:
    reply = await desk.ask("/.cluster-tunnel/ca", method="GET")
    assert reply.values == {"authority": (desk.folder / "server-ca.crt").read_text()}
    assert desk.book.events == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", JOIN),
        ("PUT", RENEW),
        ("POST", "/.cluster-tunnel/ca"),
        ("POST", f"{JOIN}/"),
        ("GET", "/.cluster-tunnel/"),
    ],
)
async def test_what_is_not_there_is_404(desk: Desk, method: str, path: str) -> None:
    reply = await desk.ask(path, method=method)
    assert reply.status == 404
    assert f"there is no {method} {path}" in reply.message
    assert desk.book.events == []


async def test_a_query_changes_nothing(desk: Desk) -> None:
    assert (await desk.ask("/.cluster-tunnel/ca?x=1", method="GET")).status == 200


@pytest.mark.parametrize("path", [JOIN, RENEW, LOGIN])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"request": {}}'])
async def test_a_body_that_cannot_be_read_is_a_400_and_one_event(desk: Desk, path: str, body: bytes) -> None:
    reply = await desk.ask(path, body, certificate=None)
    assert reply.status in (400, 401)
    assert desk.event.code == reply.status


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("token", "the body has no 'token'"),
        ("clusterUid", "the body has no 'clusterUid'"),
        ("request", "the body has no 'request'"),
    ],
)
async def test_a_missing_text_is_named(desk: Desk, missing: str, reason: str) -> None:
    body = {"token": desk.token(), "clusterUid": UID, missing: ""}
    reply = await desk.ask(JOIN, body)
    assert (reply.status, reason in reply.message) == (400, True)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"token": "ctjoin1.x"}, "not a join token"),
        ({"request": "x"}, "the certificate request cannot be parsed"),
        ({"clusterUid": "a/b"}, "is not a cluster's UID"),
        ({"clusterUid": "x" * 65}, "is not a cluster's UID"),
    ],
)
async def test_a_text_that_is_wrong_is_named(desk: Desk, changed: dict[str, str], reason: str) -> None:
    reply = await desk.ask(JOIN, {"token": desk.token(), "clusterUid": UID, **changed})
    assert (reply.status, reason in reply.message) == (400, True)


async def test_a_body_above_the_limit_is_refused(desk: Desk) -> None:
    reply = await desk.ask(JOIN, b" " * (BODY_BYTES + 1))
    assert reply.status == 413
    assert desk.event.code == 413


async def test_a_refusal_is_a_status_with_a_request_id_that_the_event_has_too(desk: Desk) -> None:
    reply = await desk.join("x")
    id = reply.fields["X-Cluster-Tunnel-Request-Id"]
    assert f"(request {id})" in reply.message
    assert desk.event.id == id


async def test_an_answer_with_a_certificate_is_kept_by_nobody(desk: Desk) -> None:
    reply = await desk.join(desk.token())
    assert reply.fields["Cache-Control"] == "no-store"
    assert reply.fields["Content-Type"] == "application/json"


async def test_no_secret_is_logged(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    token = desk.token()
    with caplog.at_level(logging.DEBUG):
        assert (await desk.join(token)).status == 200
        desk.key = make_key()
        assert (await desk.join(token)).status == 401
    text = " ".join(str(record.__dict__) for record in caplog.records)
    assert token.split(".")[2] not in text
    assert [record.message for record in caplog.records if record.name.startswith("stub")] == [
        "a certificate was issued",
        "a certificate was refused",
    ]


async def test_an_attempt_that_breaks_off_is_remembered_as_that(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("stub.signing.agents.read_request", fail)
    with pytest.raises(RuntimeError):
        await desk.join(desk.token())
    event = desk.event
    assert (event.code, event.reason) == (0, "broken off")


def test_an_event_is_an_object_for_the_audit_log() -> None:
    entry = SigningEvent("join", "192.0.2.1", "id", token_id="abc", code=200, reason="").entry()
    assert entry["tokenID"] == "abc"
    assert set(entry) >= {"time", "auditID", "action", "address", "cluster", "user", "code", "reason"}


# How often -------------------------------------------------------------------------------------


async def test_an_address_that_asks_too_often_is_told_to_wait(installation: Installation) -> None:
    desk = Desk(installation, signing_attempts=2)
    assert [(await desk.join("x")).status for _ in range(3)] == [400, 400, 429]
    assert [event.code for event in desk.book.events] == [400, 400, 429]
    reply = await desk.join("x")
    assert (reply.status, reply.fields["Retry-After"]) == (429, "30")
    assert (await desk.join("x", address="192.0.2.2")).status == 400


async def test_who_asks_for_the_authority_has_as_many_joins_left(installation: Installation) -> None:
    """An agent asks for it before each: it must not cost half of the attempts, and must be bounded itself."""
    desk = Desk(installation, signing_attempts=2)
    asked = [(await desk.ask("/.cluster-tunnel/ca", method="GET")).status for _ in range(3)]
    assert asked == [200, 200, 429]
    assert [(await desk.join("x")).status for _ in range(3)] == [400, 400, 429]


def test_attempts_come_back_evenly() -> None:
    attempts = Attempts(60)
    assert [attempts.take("a", 0.0) for _ in range(61)] == [None] * 60 + [1]
    assert attempts.take("a", 0.9) == 1
    assert attempts.take("a", 2.0) is None
    assert attempts.take("a", 2.0) is None
    assert attempts.take("a", 2.0) == 1
    assert [attempts.take("a", 1e6) for _ in range(61)].count(None) == 60


def test_a_network_of_ipv6_counts_as_one_address() -> None:
    attempts = Attempts(1)
    assert attempts.take("2001:db8::1", 0.0) is None
    assert attempts.take("2001:db8::ffff:1", 0.0) == 60
    assert attempts.take("2001:db8:0:1::1", 0.0) is None
    assert attempts.take("fe80::1%eth0", 0.0) is None
    assert attempts.take("::ffff:192.0.2.1", 0.0) is None
    assert attempts.take("::ffff:192.0.2.2", 0.0) is None
    assert attempts.take("unknown", 0.0) is None


def test_the_addresses_remembered_are_bounded_and_the_one_heard_longest_ago_goes() -> None:
    attempts = Attempts(1, addresses=2)
    for address in ("a", "b", "a", "c"):
        attempts.take(address, 0.0)
    assert [attempts.take(address, 0.0) for address in ("a", "b")] == [60, None]
