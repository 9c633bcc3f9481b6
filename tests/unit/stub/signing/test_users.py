"""Users that sign in with the certificate before."""

import json
import time
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from certs.authority import Authority, make_authority
from certs.call import Answer
from certs.csr import make_key, make_request
from certs.denied import denial_of, deny, for_good, new_denial
from certs.foreign import UserAuthority
from certs.issue import issue_user, sign_user
from certs.lifetime import utc_now
from certs.peer import user_names
from certs.pem import KeyPair, PemText, read_certificates
from certs.signed import read_signed
from certs.signer import OwnAuthority, Signer
from stub.signing import users as module
from stub.signing.call import SigningCall
from stub.signing.event import SigningEvent
from stub.signing.oidc import Issuer
from tests.unit.certs.installation import DAY, Installation, der, der_of, lasting
from tests.unit.stub.signing.desk import Desk
from tunnel.core.identity import Identity

HOURS = timedelta(hours=1)


def pair_of(reply_certificate: object, key: object) -> KeyPair:
    return KeyPair((reply_certificate,), key)  # type: ignore[arg-type]


async def test_a_certificate_gives_a_short_lived_one_with_the_same_names(desk: Desk) -> None:
    reply = await desk.login(desk.installation.user("alice", ("devs", "ops")))
    peer = desk.standing.read(reply.der)
    assert user_names(peer) == ("alice", ("devs", "ops"))
    assert reply.certificate.public_key() == desk.key.public_key()
    assert abs(reply.certificate.not_valid_after_utc - utc_now() - 12 * HOURS) < timedelta(minutes=1)
    event = desk.event
    assert (event.action, event.method, event.user, event.groups) == (
        "login",
        "certificate",
        "alice",
        ("devs", "ops"),
    )
    assert (event.code, event.serial) == (200, f"{reply.certificate.serial_number:x}")


async def test_renewing_ends_a_fixed_time_behind_the_first_certificate(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a stolen certificate would renew itself for ever."""
    first = desk.installation.user("alice", days=200)
    reply = await desk.login(first)
    until = desk.standing.read(reply.der).renewable_until
    assert until is not None
    assert abs(until - time.time() - 30 * 86400) < 60
    key, desk.key = desk.key, make_key()
    again = await desk.login(pair_of(reply.certificate, key))
    assert desk.standing.read(again.der).renewable_until == until
    monkeypatch.setattr(time, "time", lambda: until + 7200)
    late = sign_user(
        desk.installation.store.authority("user-ca"),
        "alice",
        [],
        key.public_key(),
        lasting(200),
        renewable_until=until,
    )
    refused = await desk.login(pair_of(late, key))
    assert refused.status == 401
    assert "could renew itself until 2 h ago; sign in anew" in refused.message


async def test_a_certificate_that_was_made_for_no_login_gives_no_other(desk: Desk) -> None:
    """Its holder was given its rights until it ends, as by `kubeconfig` without `--login` or `certs user`."""
    store = desk.installation.store
    for pair in (store.user_pair("alice", [], lasting()), store.files("user-alice").read()):
        reply = await desk.login(pair)
        assert (reply.status, "was not made for signing in" in reply.message) == (403, True)
        assert desk.event.code == 403
    assert (await desk.login(store.user_pair("alice", [], lasting(), for_login=True))).status == 200


async def test_an_authority_s_new_certificate_lets_nothing_renew_itself_longer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = desk.installation.user("alice", days=200)
    peer = replace(desk.standing.read(der(pair)), not_before=time.time() + 40 * 86400)
    monkeypatch.setattr(desk.standing.peers, "read", lambda _: peer)
    monkeypatch.setattr(desk.standing, "problem", lambda _: None)
    later = time.time() + 31 * 86400
    monkeypatch.setattr(time, "time", lambda: later)
    reply = await desk.login(pair)
    assert (reply.status, "could renew itself until" in reply.message) == (401, True)


async def test_renewing_by_certificate_can_be_switched_off(installation: Installation) -> None:
    desk = Desk(installation, login_max_age=0.0)
    reply = await desk.login(installation.user("alice", days=1))
    assert reply.status == 401


async def test_an_expired_a_revoked_and_a_strange_certificate_sign_nobody_in(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    expired = await desk.login(desk.installation.user("alice", days=-1))
    assert (expired.status, "expired 1 d ago" in expired.message) == (401, True)
    pair = desk.installation.user("alice")
    deny(desk.folder, [denial_of(pair.certificate, utc_now())])
    revoked = await desk.login(pair)
    assert (revoked.status, "was revoked" in revoked.message) == (401, True)
    stranger = Installation.make(tmp_path_factory.mktemp("other"))
    strange = await desk.login(stranger.user("alice"))
    assert (strange.status, "signed by neither" in strange.message) == (403, True)
    agent = await desk.login(desk.installation.store.files("agent-dev").read())
    assert (agent.status, "not a user's" in agent.message) == (403, True)
    nobody = await desk.login()
    assert (nobody.status, "show a user certificate or send an id-token" in nobody.message) == (401, True)
    assert [event.code for event in desk.book.events] == [401, 401, 403, 403, 401]


async def test_a_user_who_is_revoked_gets_nothing_by_an_older_certificate(desk: Desk) -> None:
    old = desk.installation.user("alice")
    deny(desk.folder, [new_denial("user", "alice", utc_now())])
    assert (await desk.login(old)).status == 401
    deny(desk.folder, [for_good(new_denial("user", "bob", utc_now()))])
    assert (await desk.login(desk.installation.user("bob"))).status == 401


async def test_a_certificate_of_a_foreign_authority_does_not_become_one_of_ours(
    installation: Installation,
) -> None:
    pair = make_authority("user-ca", lasting())
    path = installation.path("corp.crt")
    path.write_bytes(pair.certificate_pem)
    desk = Desk(installation, user_ca=(UserAuthority(path, "corp:"),))
    reply = await desk.login(issue_user(Authority(pair, "corp"), "alice", [], lasting()))
    assert reply.status == 403
    assert "only certificates of this stub's own user-ca" in reply.message
    assert desk.event.user == "corp:alice"


async def test_reserved_names_are_carried_over_only_where_they_are_let_in(installation: Installation) -> None:
    pair = installation.user("alice", ("system:masters",))
    refused = await Desk(installation).login(pair)
    assert (refused.status, "reserved for the cluster's own parts" in refused.message) == (403, True)
    assert (await Desk(installation, allow_groups=("system:masters",)).login(pair)).status == 200


async def test_a_stub_without_the_key_of_users_signs_nobody_in(installation: Installation) -> None:
    pair = installation.user()
    installation.path("user-ca.key").unlink()
    reply = await Desk(installation).login(pair)
    assert reply.status == 404
    assert "signs nobody in: its --ca-dir has no user-ca.key" in reply.message


async def test_a_weak_key_is_not_signed(desk: Desk) -> None:
    reply = await desk.login(desk.installation.user(), request="-----BEGIN CERTIFICATE REQUEST-----")
    assert reply.status == 400


async def test_a_token_for_a_stub_that_takes_none_is_told(desk: Desk) -> None:
    reply = await desk.login(idToken="a.b.c")
    assert reply.status == 404
    assert "it has no --oidc-issuer" in reply.message
    assert desk.event.method == "oidc"


class Known:
    """An issuer whose every token is alice's."""

    async def identity(self, text: str) -> Identity:
        return Identity("oidc:alice")


async def test_who_signs_in_anew_behind_a_revocation_gets_a_certificate_that_is_good(desk: Desk) -> None:
    rules = module.LoginRules(DAY, DAY)
    parts = (Signer(desk.folder, "user-ca"), OwnAuthority(desk.folder), desk.standing, rules)
    users = module.UserCertificates(*parts, cast("Issuer", Known()))
    body = json.dumps({"request": make_request(desk.key).decode(), "idToken": "a.b.c"}).encode()
    refused: list[bool] = []
    for _ in range(2):
        answer = await users.login(SigningCall(body, None, SigningEvent("login", "192.0.2.1", "id")))
        certificate = read_signed(Answer(200, answer.body)).certificate
        (leaf,) = read_certificates(PemText("certificate", certificate))
        deny(desk.folder, [new_denial("user", "oidc:alice", utc_now())] if not refused else [])
        refused.append(desk.standing.denied.refuses(desk.standing.read(der_of(leaf))) is not None)
    assert refused == [True, False]


async def test_a_token_is_judged_whatever_certificate_is_shown_beside_it(desk: Desk) -> None:
    """A certificate must not vouch for a token that proves nothing."""
    reply = await desk.login(desk.installation.user(), idToken="a.b.c")
    assert reply.status == 404
