"""Agents that join and renew."""

import threading
from datetime import timedelta

import pytest

from certs.csr import make_key
from certs.denied import deny, for_good, new_denial
from certs.issue import issue_agent
from certs.lifetime import utc_now
from certs.peer import agent_cluster
from certs.pem import PemFile
from certs.tokenfile import TokenFile
from certs.tokens import new_token, parse_token, pin_of
from tests.unit.certs.installation import DAY, Installation, der, lasting
from tests.unit.stub.signing.desk import UID, Desk


async def test_a_token_gives_a_certificate_for_its_cluster_and_the_agent_s_key(desk: Desk) -> None:
    token = desk.token("prod")
    reply = await desk.join(token)
    peer = desk.standing.read(reply.der)
    assert (agent_cluster(peer), peer.cluster_uid) == ("prod", UID)
    assert reply.certificate.public_key() == desk.key.public_key()
    assert abs(reply.certificate.not_valid_after_utc - utc_now() - 30 * DAY) < timedelta(minutes=1)
    assert reply.values["authority"].encode() == (desk.folder / "server-ca.crt").read_bytes()
    assert desk.standing.problem(peer) is None
    event = desk.event
    assert (event.action, event.code, event.cluster, event.cluster_uid) == ("join", 200, "prod", UID)
    assert event.token_id == parse_token(token).id
    assert event.serial == f"{reply.certificate.serial_number:x}"


async def test_what_a_request_says_of_itself_changes_nothing(desk: Desk) -> None:
    reply = await desk.ask(
        "/.cluster-tunnel/join", {"token": desk.token("prod"), "clusterUid": UID, "cluster": "lab"}
    )
    assert agent_cluster(desk.standing.read(reply.der)) == "prod"
    assert reply.certificate.subject.rfc4514_string() == "CN=prod"


async def test_the_life_of_certificates_is_a_setting(installation: Installation) -> None:
    desk = Desk(installation, agent_ttl=3600.0)
    reply = await desk.join(desk.token())
    assert abs(reply.certificate.not_valid_after_utc - utc_now() - timedelta(hours=1)) < timedelta(minutes=1)


@pytest.mark.parametrize("kind", ["used", "expired", "revoked", "unknown", "wrong secret"])
async def test_a_token_that_is_not_good_gets_one_clear_answer_and_one_event(desk: Desk, kind: str) -> None:
    token = desk.token(life=timedelta(0) if kind == "expired" else timedelta(hours=1))
    id = parse_token(token).id
    reason = {
        "used": f"the join token {id} was used already",
        "expired": f"the join token {id} expired",
        "revoked": f"the join token {id} was revoked on",
    }.get(kind, "the join token is not known here; was it made for another stub?")
    if kind == "used":
        await desk.join(token)
        assert desk.event.code == 200
        desk.key = make_key()
    elif kind == "revoked":
        TokenFile(desk.folder).revoke(id, utc_now())
    elif kind == "unknown":
        token = new_token(pin_of(PemFile(desk.folder / "server-ca.crt"))).text
    elif kind == "wrong secret":
        token = f"ctjoin1.{id}.{desk.token().split('.')[2]}.{token.split('.')[3]}"
    reply = await desk.join(token)
    assert (reply.status, reply.values["reason"]) == (401, "Unauthorized")
    assert reply.message.startswith(f"stub: {reason}")
    event = desk.event
    assert (event.code, event.serial) == (401, "")
    assert event.reason.startswith(reason)


async def test_an_answer_that_was_lost_can_be_had_again_with_the_same_key(desk: Desk) -> None:
    token = desk.token()
    first, second = await desk.join(token), await desk.join(token)
    assert first.certificate.public_key() == second.certificate.public_key()
    assert [record.used for record in TokenFile(desk.folder).records()] == [1]


async def test_a_token_that_was_copied_into_another_cluster_is_refused(desk: Desk) -> None:
    token = desk.token(uses=5)
    await desk.join(token)
    desk.book.events.clear()
    desk.key = make_key()
    reply = await desk.join(token, uid="uid-of-a-copy")
    assert reply.status == 403
    assert "'prod' belongs to another cluster" in reply.message
    assert desk.event.cluster_uid == "uid-of-a-copy"


async def test_a_stub_without_the_key_of_agents_enrols_nobody(installation: Installation) -> None:
    desk = Desk(installation)
    token = desk.token()
    for missing in ("agent-ca.key", "server-ca.crt"):
        content = installation.path(missing).read_bytes()
        installation.path(missing).unlink()
        reply = await Desk(installation).join(token)
        assert reply.status == 404
        assert f"does not enrol agents: its --ca-dir has no {missing}" in reply.message
        installation.path(missing).write_bytes(content)
    assert (await desk.join(token)).status == 200


async def test_a_file_that_cannot_be_written_is_the_stub_s_own_fault(desk: Desk) -> None:
    token = desk.token()
    (desk.folder / "join-tokens.json").write_text("{")
    reply = await desk.join(token)
    assert reply.status == 503
    assert "its log says why" in reply.message
    assert str(desk.folder) not in reply.message
    assert desk.event.code == 503


async def test_the_disk_is_not_waited_for_in_the_loop(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []
    redeem = TokenFile.redeem

    def noting(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return redeem(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenFile, "redeem", noting)
    assert (await desk.join(desk.token())).status == 200
    assert threads != [threading.main_thread()]


# Renewal ---------------------------------------------------------------------------------------


async def test_a_certificate_gives_the_next_one_for_the_same_cluster(desk: Desk) -> None:
    first = await desk.join(desk.token())
    desk.book.events.clear()
    desk.key = make_key()
    second = await desk.renew(first.der)
    peer = desk.standing.read(second.der)
    assert (agent_cluster(peer), peer.cluster_uid) == ("prod", UID)
    assert second.certificate.public_key() == desk.key.public_key()
    assert second.certificate.serial_number != first.certificate.serial_number
    event = desk.event
    assert (event.action, event.code, event.cluster) == ("renew", 200, "prod")


async def test_a_certificate_made_by_hand_is_bound_to_its_cluster_by_the_first_renewal(desk: Desk) -> None:
    by_hand = der(desk.installation.store.files("agent-dev").read())
    reply = await desk.renew(by_hand)
    assert desk.standing.read(reply.der).cluster_uid == UID
    refused = await desk.renew(by_hand, uid="copy")
    assert refused.status == 403
    assert "'dev' belongs to another cluster" in refused.message


async def test_a_key_that_was_copied_into_another_cluster_is_not_renewed(desk: Desk) -> None:
    first = await desk.join(desk.token())
    desk.book.events.clear()
    reply = await desk.renew(first.der, uid="copy")
    assert reply.status == 403
    assert f"was made for the cluster with the UID {UID}, and the agent is in copy" in reply.message
    assert desk.event.code == 403


async def test_who_shows_no_agent_certificate_renews_nothing(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert (await desk.renew(None)).status == 401
    user = await desk.renew(der(desk.installation.store.files("user-alice").read()))
    assert (user.status, "not an agent's" in user.message) == (403, True)
    stranger = Installation.make(tmp_path_factory.mktemp("other"))
    reply = await desk.renew(der(stranger.store.files("agent-dev").read()))
    assert (reply.status, "signed by neither" in reply.message) == (403, True)


async def test_an_expired_certificate_is_not_renewed(desk: Desk) -> None:
    late = issue_agent(desk.installation.store.authority("agent-ca"), "prod", lasting(-2))
    reply = await desk.renew(der(late))
    assert reply.status == 401
    assert "expired 2 d ago" in reply.message


async def test_a_revoked_certificate_is_not_renewed_and_a_new_token_brings_the_agents_back(
    desk: Desk,
) -> None:
    first = await desk.join(desk.token())
    deny(desk.folder, [new_denial("agent", "prod", utc_now())])
    reply = await desk.renew(first.der)
    assert reply.status == 401
    assert "was revoked on" in reply.message
    desk.key = make_key()
    again = await desk.join(desk.token())
    assert desk.standing.denied.refuses(desk.standing.read(again.der)) is None


async def test_a_cluster_that_is_revoked_for_good_gets_nothing(desk: Desk) -> None:
    deny(desk.folder, [for_good(new_denial("agent", "prod", utc_now()))])
    token = desk.token()
    reply = await desk.join(token)
    assert reply.status == 403
    assert "agents of prod, for good" in reply.message
    assert [record.used for record in TokenFile(desk.folder).records()] == [0]
