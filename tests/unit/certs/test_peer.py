"""Who a certificate stands for."""

import hashlib
import time
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.authority import Authority, authority_identifier, make_authority
from certs.csr import make_key
from certs.errors import CertificateProblem, PeerRefused
from certs.issue import issue_agent, issue_server, issue_user, sign_agent, sign_user
from certs.peer import (
    ClientAuthority,
    PeerCertificate,
    PeerReader,
    agent_cluster,
    user_names,
    was_signed_by,
)
from tests.unit.certs.installation import Installation, der, der_of, lasting, self_signed, signed

CN, ORG = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME


@pytest.fixture
def users(installation: Installation) -> Authority:
    return installation.store.authority("user-ca")


@pytest.fixture
def agents(installation: Installation) -> Authority:
    return installation.store.authority("agent-ca")


def agent_with(authority: Authority, *uris: str) -> bytes:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
    return der(signed(authority, [(CN, "dev")], names))


def test_a_user_s_certificate_is_read_whole(installation: Installation, reader: PeerReader) -> None:
    pair = installation.user("alice", ("ops", "devs"), until=None)
    authority = installation.store.authority("user-ca").certificate
    peer = reader.read(der(pair))
    assert peer == PeerCertificate(
        common_names=("alice",),
        organizations=("ops", "devs"),
        uris=(),
        not_before=pair.certificate.not_valid_before_utc.timestamp(),
        not_after=pair.certificate.not_valid_after_utc.timestamp(),
        serial=pair.certificate.serial_number,
        issuer="CN=cluster-tunnel user-ca",
        fingerprint=hashlib.sha256(der(pair)).hexdigest(),
        signed_by="user-ca",
        for_clients=True,
        authority=authority.fingerprint(hashes.SHA256()).hex(),
        signed_part=hashlib.sha256(pair.certificate.tbs_certificate_bytes).hexdigest(),
        own_not_before=pair.certificate.not_valid_before_utc.timestamp(),
    )
    assert user_names(peer) == ("alice", ("ops", "devs"))
    assert abs(peer.issued - time.time()) < 60


def test_an_agent_s_certificate_names_its_cluster(agents: Authority, reader: PeerReader) -> None:
    peer = reader.read(der(issue_agent(agents, "dev-1", lasting())))
    assert peer.uris == ("cluster-tunnel://agent/dev-1",)
    assert agent_cluster(peer) == "dev-1"


def test_neither_passes_for_the_other(
    installation: Installation, agents: Authority, reader: PeerReader
) -> None:
    agent, user = (
        reader.read(der(issue_agent(agents, "dev", lasting()))),
        reader.read(der(installation.user())),
    )
    with pytest.raises(PeerRefused, match="not a user's: signed by agent-ca"):
        user_names(agent)
    with pytest.raises(PeerRefused, match="not an agent's: signed by user-ca"):
        agent_cluster(user)


def test_an_agent_s_uri_from_the_user_authority_opens_no_tunnel(users: Authority, reader: PeerReader) -> None:
    with pytest.raises(PeerRefused, match="not an agent's"):
        agent_cluster(reader.read(agent_with(users, "cluster-tunnel://agent/dev")))


def test_an_authority_of_the_same_name_is_not_the_same(reader: PeerReader) -> None:
    imposter = Authority(make_authority("user-ca", lasting()), "imposter")
    peer = reader.read(der(issue_user(imposter, "alice", [], lasting())))
    assert peer.signed_by is None
    with pytest.raises(PeerRefused, match="signed by neither authority"):
        user_names(peer)


def test_a_forged_key_identifier_does_not_replace_the_signature(users: Authority) -> None:
    imposter = Authority(make_authority("user-ca", lasting()), "imposter")
    borrowed = Authority(replace(users.pair, key=imposter.pair.key), "forged")
    assert not was_signed_by(signed(borrowed, [(CN, "alice")]).certificate, users.certificate)


def test_a_leaf_that_names_another_key_than_its_signer_s_is_nobody_s(
    users: Authority, agents: Authority
) -> None:
    """As in the handshake: OpenSSL finds no issuer for it either."""
    leaf = signed(users, [(CN, "alice")], identifier=authority_identifier(agents.certificate)).certificate
    leaf.verify_directly_issued_by(users.certificate)
    assert not was_signed_by(leaf, users.certificate)


def test_a_certificate_signed_before_and_after_a_change_of_authority_is_known(
    installation: Installation, users: Authority, agents: Authority
) -> None:
    old = Authority(make_authority("user-ca", lasting()), "old")
    reader = PeerReader([users.certificate, old.certificate], [agents.certificate])
    for authority in (users, old):
        assert reader.read(der(issue_user(authority, "alice", [], lasting()))).signed_by == "user-ca"


def test_one_key_cannot_be_both_authorities(users: Authority) -> None:
    with pytest.raises(CertificateProblem, match="have the same key"):
        PeerReader([users.certificate], [users.certificate])
    foreign = ClientAuthority("user-ca", users.certificate, foreign=True)
    with pytest.raises(CertificateProblem, match="have the same key"):
        PeerReader([], [users.certificate], foreign=[foreign])


def test_names_of_a_foreign_authority_are_told_from_one_s_own_by_its_prefix(
    installation: Installation, users: Authority, agents: Authority
) -> None:
    corp = Authority(make_authority("user-ca", lasting()), "corp")
    foreign = ClientAuthority("user-ca", corp.certificate, "corp:", foreign=True)
    reader = PeerReader([users.certificate], [agents.certificate], foreign=[foreign])
    theirs = reader.read(der(issue_user(corp, "alice", ["devs"], lasting())))
    ours = reader.read(der(installation.user("alice")))
    assert user_names(theirs) == ("corp:alice", ("corp:devs",))
    assert user_names(ours) == ("alice", ())
    assert (reader.is_own(ours), reader.is_own(theirs)) == (True, False)


def test_an_authority_that_is_taken_away_is_trusted_no_longer(
    installation: Installation, users: Authority, agents: Authority, reader: PeerReader
) -> None:
    text = der(installation.user())
    before = reader.read(text)
    assert reader.trusts(before)
    other = Authority(make_authority("user-ca", lasting()), "other")
    reader.trust([other.certificate], [agents.certificate])
    assert not reader.trusts(before)
    assert reader.read(text).signed_by is None
    reader.trust([other.certificate, users.certificate], [agents.certificate])
    assert reader.trusts(reader.read(text))


def test_a_certificate_says_which_cluster_it_was_made_for_and_until_when_it_renews_itself(
    users: Authority, agents: Authority, reader: PeerReader
) -> None:
    key = make_key().public_key()
    agent = reader.read(der_of(sign_agent(agents, "dev", "0f-1e", key, lasting())))
    assert (agent_cluster(agent), agent.cluster_uid) == ("dev", "0f-1e")
    user = reader.read(der_of(sign_user(users, "alice", [], key, lasting(), renewable_until=1800000000.5)))
    assert (user.renewable_until, user.cluster_uid) == (1800000000, None)
    assert reader.read(der_of(sign_user(users, "bob", [], key, lasting()))).renewable_until is None


@pytest.mark.parametrize("text", ["never", "-5", "9" * 20])
def test_what_is_no_second_lets_nothing_renew_itself(users: Authority, reader: PeerReader, text: str) -> None:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"cluster-tunnel://login/{text}")])
    assert reader.read(der(signed(users, [(CN, "alice")], names))).renewable_until == 0


@pytest.mark.filterwarnings("ignore:Attribute's length:UserWarning")
@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        ([(CN, "alice"), (CN, "root")], "2 common names"),
        ([(ORG, "devs")], "user name must not be empty"),
        ([(CN, ""), (ORG, "devs")], "user name must not be empty"),
        ([(CN, "alice"), (ORG, "")], "group must not be empty"),
        ([(CN, "alice\r\nImpersonate-User: root")], "cannot be printed"),
        ([(CN, "alice"), (ORG, "devs\n")], "white space"),
        ([(CN, "alice\x00")], "cannot be printed"),
        ([(CN, "a" * 1025)], "longer than 1024"),
    ],
)
def test_an_ambiguous_or_unfit_subject_is_refused(
    users: Authority, reader: PeerReader, subject: list[tuple[x509.ObjectIdentifier, str]], reason: str
) -> None:
    with pytest.raises(PeerRefused, match=reason):
        user_names(reader.read(der(signed(users, subject))))


def test_reserved_names_are_left_to_the_access_rules(users: Authority, reader: PeerReader) -> None:
    peer = reader.read(der(signed(users, [(CN, "system:admin"), (ORG, "system:masters")])))
    assert user_names(peer) == ("system:admin", ("system:masters",))


@pytest.mark.parametrize(
    ("uris", "reason"),
    [
        ([], "has 0 URIs"),
        (["spiffe://agent/dev"], "has 0 URIs"),
        (["cluster-tunnel://agent/dev", "cluster-tunnel://agent/prod"], "has 2 URIs"),
        (["cluster-tunnel://agent/"], "is not a cluster id"),
        (["cluster-tunnel://agent/Dev"], "is not a cluster id"),
        (["cluster-tunnel://agent/dev/x"], "is not a cluster id"),
    ],
)
def test_an_agent_has_exactly_one_cluster(
    agents: Authority, reader: PeerReader, uris: list[str], reason: str
) -> None:
    with pytest.raises(PeerRefused, match=reason):
        agent_cluster(reader.read(agent_with(agents, *uris)))


def test_a_server_s_certificate_is_no_client_s(users: Authority, reader: PeerReader) -> None:
    peer = reader.read(der(issue_server(users, ["x.example.com"], lasting())))
    assert not peer.for_clients
    with pytest.raises(PeerRefused, match="clientAuth"):
        user_names(peer)


@pytest.mark.parametrize("extensions", [(), (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]),)])
def test_client_usage_or_none_at_all_is_a_client_s(
    users: Authority, reader: PeerReader, extensions: tuple[x509.ExtensionType, ...]
) -> None:
    assert reader.read(der(signed(users, [(CN, "alice")], *extensions))).for_clients


def test_dates_are_checked_at_the_time_given(installation: Installation, reader: PeerReader) -> None:
    peer = reader.read(der(installation.user(days=1)))
    assert peer.valid_at(peer.not_before)
    assert peer.valid_at(peer.not_after)
    assert not peer.valid_at(peer.not_before - 1)
    assert not peer.valid_at(peer.not_after + 1)
    assert peer.problem_at(peer.not_after) is None
    assert "expired 2 h ago" in (peer.problem_at(peer.not_after + 7200) or "")
    assert "is not valid before" in (peer.problem_at(peer.not_before - 60) or "")


def test_nobody_outlives_the_authority_that_the_handshake_does_not_check(agents: Authority) -> None:
    old = Authority(make_authority("user-ca", lasting(-1)), "old")
    pair = signed(old, [(CN, "alice")], lifetime=lasting(30))
    peer = PeerReader([old.certificate], [agents.certificate]).read(der(pair))
    assert peer.signed_by == "user-ca"
    assert not peer.valid_at(time.time())


def test_an_authority_without_identifiers_is_known_by_its_signature(agents: Authority) -> None:
    plain = Authority(self_signed("plain", (x509.BasicConstraints(True, None), True)), "plain")
    reader = PeerReader([plain.certificate], [agents.certificate])
    assert reader.read(der(issue_user(plain, "alice", [], lasting()))).signed_by == "user-ca"


# The cache -------------------------------------------------------------------------------------


def test_a_certificate_is_parsed_once(installation: Installation, reader: PeerReader) -> None:
    text = der(installation.user())
    assert reader.read(text) is reader.read(bytes(bytearray(text)))


def test_the_cache_is_bounded_and_forgets_the_oldest(users: Authority, agents: Authority) -> None:
    reader = PeerReader([users.certificate], [agents.certificate], capacity=2)
    one, two, three = (der(issue_user(users, name, [], lasting())) for name in ("one", "two", "three"))
    first, second = reader.read(one), reader.read(two)
    assert reader.read(one) is first
    reader.read(three)
    assert reader.read(one) is first
    assert reader.read(two) is not second


# Hostile bytes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"", b"\x30", b"\x30\x80" * 100, b"not DER"])
def test_what_is_no_certificate_is_refused(reader: PeerReader, text: bytes) -> None:
    with pytest.raises(PeerRefused, match="cannot be parsed"):
        reader.read(text)


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_changed_byte_gives_a_refusal_or_an_unsigned_certificate(
    installation: Installation, reader: PeerReader, position: int, value: int
) -> None:
    """No other exception, and never a certificate that an authority is said to have signed."""
    original = der(installation.store.files("user-alice").read())
    changed = bytearray(original)
    changed[position % len(changed)] = value
    try:
        peer = reader.read(bytes(changed))
    except PeerRefused:
        return
    assert peer.signed_by is None or bytes(changed) == original
