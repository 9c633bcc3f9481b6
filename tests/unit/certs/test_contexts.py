"""TLS contexts, by real handshakes in memory."""

import os
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from certs import contexts
from certs.authority import Authority
from certs.contexts import (
    agent_context,
    agent_listener_context,
    calling_context,
    stub_context,
    upstream_context,
)
from certs.errors import CertificateProblem
from certs.issue import issue_agent, issue_server, issue_user
from certs.peer import PeerReader, agent_cluster, user_names
from certs.pem import KeyPair, PemFile, PemText
from tests.unit.certs.installation import (
    Handshake,
    Installation,
    client_context,
    lasting,
    self_signed,
    signed,
    write_pair,
)

SESSION = "cluster-tunnel/1"
ALPN = (SESSION, "http/1.1")


@pytest.fixture
def stub(installation: Installation) -> ssl.SSLContext:
    return stub_for(installation)


def stub_for(
    installation: Installation, make: Callable[..., ssl.SSLContext] = stub_context, *authorities: str
) -> ssl.SSLContext:
    trusted = [installation.path(name) for name in authorities or ("user-ca.crt", "agent-ca.crt")]
    return make(installation.path("server.crt"), installation.path("server.key"), trusted, ALPN)


def agent_for(installation: Installation, alpn: str = SESSION) -> ssl.SSLContext:
    own = installation.store.files("agent-dev")
    return agent_context(own.certificate, own.key, installation.path("server-ca.crt"), [alpn])


def kubectl(installation: Installation, stem: str | None = "user-alice", alpn: bool = True) -> ssl.SSLContext:
    """TLS as kubectl speaks it, verifying as strictly as Python 3.13."""
    pair = installation.store.files(stem) if stem else None
    context = client_context(installation.path("server-ca.crt"), pair)
    if alpn:
        context.set_alpn_protocols(["h2", "http/1.1"])
    return context


# The stub's side -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "dev.stub.example.com"])
def test_a_strict_client_and_the_stub_accept_each_other(
    installation: Installation, stub: ssl.SSLContext, reader: PeerReader, version: ssl.TLSVersion, name: str
) -> None:
    client = kubectl(installation)
    client.maximum_version = version
    done = Handshake(client, stub, name).run()
    shown = done.server.getpeercert(binary_form=True)
    assert shown is not None
    assert user_names(reader.read(shown)) == ("alice", ("devs", "ops"))
    assert done.server.selected_alpn_protocol() == "http/1.1"


def test_an_agent_is_told_from_a_user_by_its_authority(
    installation: Installation, stub: ssl.SSLContext, reader: PeerReader
) -> None:
    agent = Handshake(agent_for(installation), stub).run().server
    # Whatever a client asks for by ALPN, its authority stays what it is.
    user_client = kubectl(installation, alpn=False)
    user_client.set_alpn_protocols([SESSION])
    user = Handshake(user_client, stub).run().server
    assert agent.selected_alpn_protocol() == user.selected_alpn_protocol() == SESSION
    peers = [reader.read(end.getpeercert(binary_form=True) or b"") for end in (agent, user)]
    assert [peer.signed_by for peer in peers] == ["agent-ca", "user-ca"]
    assert agent_cluster(peers[0]) == "dev"


def test_a_client_without_certificate_passes_the_handshake(
    installation: Installation, stub: ssl.SSLContext
) -> None:
    done = Handshake(kubectl(installation, None), stub).run()
    assert done.server.getpeercert(binary_form=True) is None


def test_a_client_without_alpn_passes_the_handshake(installation: Installation, stub: ssl.SSLContext) -> None:
    assert Handshake(kubectl(installation, alpn=False), stub).run().server.selected_alpn_protocol() is None


def test_an_expired_certificate_passes_the_handshake_and_is_told_by_its_dates(
    installation: Installation, stub: ssl.SSLContext, reader: PeerReader, tmp_path: Path
) -> None:
    client = client_context(installation.path("server-ca.crt"))
    files = write_pair(tmp_path, "late", installation.user(days=-2))
    client.load_cert_chain(files.certificate, files.key)
    shown = Handshake(client, stub).run().server.getpeercert(binary_form=True)
    peer = reader.read(shown or b"")
    assert peer.signed_by == "user-ca"
    assert not peer.valid_at(time.time())
    assert "the client certificate expired 2 d ago" in (peer.problem_at(time.time()) or "")


def test_a_stranger_s_certificate_fails_the_handshake(
    installation: Installation, stub: ssl.SSLContext, tmp_path: Path
) -> None:
    other = Installation.make(tmp_path / "other")
    client = client_context(installation.path("server-ca.crt"), other.store.files("user-alice"))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        Handshake(client, stub).run()


def test_a_certificate_for_servers_only_is_no_client_s(
    installation: Installation, stub: ssl.SSLContext, tmp_path: Path
) -> None:
    pair = issue_server(installation.store.authority("user-ca"), ["x.example.com"], lasting())
    client = client_context(installation.path("server-ca.crt"), write_pair(tmp_path, "server", pair))
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        Handshake(client, stub).run()


def resumed(client: ssl.SSLContext, server: ssl.SSLContext) -> Handshake:
    """A second connection that offers all that it could remember of a first."""
    first = Handshake(client, server).run()
    first.server.write(b"x")
    assert first.client.read(1) == b"x"  # a ticket of TLS 1.3 would have come in front of it
    return Handshake(client, server, session=first.client.session).run()


def test_tls_1_3_sessions_are_never_resumed(installation: Installation, stub: ssl.SSLContext) -> None:
    client = kubectl(installation)
    assert not resumed(client, stub).server.session_reused
    stub.num_tickets = 2
    assert resumed(client, stub).server.session_reused, "the test itself can resume"


def test_a_tls_1_2_session_has_no_ticket_and_is_known_when_its_id_is_resumed(
    installation: Installation, stub: ssl.SSLContext
) -> None:
    client = kubectl(installation)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    second = resumed(client, stub)
    assert second.client.session is not None
    assert not second.client.session.has_ticket
    assert second.server.session_reused  # Python cannot switch this off; the connection's owner refuses it


def test_the_stub_s_options_are_all_set(stub: ssl.SSLContext) -> None:
    wanted = ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    assert stub.options & wanted == wanted
    assert not stub.options & ssl.OP_IGNORE_UNEXPECTED_EOF
    assert stub.num_tickets == 0
    assert stub.minimum_version is ssl.TLSVersion.TLSv1_2
    assert stub.verify_flags & ssl.VERIFY_X509_STRICT
    assert stub.keylog_filename is None


def test_only_forward_secret_authenticated_ciphers_are_offered(stub: ssl.SSLContext) -> None:
    names = {cipher["name"] for cipher in stub.get_ciphers()}
    assert all(name.startswith(("TLS_", "ECDHE-")) for name in names)
    assert not [name for name in names if "CBC" in name or (name.endswith("SHA384") and "GCM" not in name)]


@pytest.mark.parametrize("first", ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"])
def test_of_the_ciphers_that_both_have_the_client_chooses(
    installation: Installation, stub: ssl.SSLContext, first: str
) -> None:
    client = kubectl(installation)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(f"ECDHE-ECDSA-{first}:{contexts.CIPHERS}")
    chosen = Handshake(client, stub).run().server.cipher()
    assert chosen is not None
    assert chosen[0] == f"ECDHE-ECDSA-{first}"


def test_a_cut_connection_does_not_look_ended(installation: Installation, stub: ssl.SSLContext) -> None:
    done = Handshake(kubectl(installation), stub).run()
    done.cut_client()
    with pytest.raises(ssl.SSLError, match=r"(?i)eof"):
        done.client.read(1)


def test_the_agents_own_port_asks_for_a_certificate(installation: Installation) -> None:
    listener = stub_for(installation, agent_listener_context, "agent-ca.crt")
    assert Handshake(agent_for(installation), listener).run().server.version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        Handshake(kubectl(installation, None), listener).run()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        Handshake(kubectl(installation), listener).run()


def test_a_lax_stub_takes_what_a_foreign_authority_made(installation: Installation, tmp_path: Path) -> None:
    lax = lax_authority()
    trust = write_pair(tmp_path, "corporate", lax.pair).certificate
    own = installation.path("server.crt"), installation.path("server.key")
    leaf = write_pair(tmp_path, "bob", issue_user(lax, "bob", [], lasting()))
    client = client_context(installation.path("server-ca.crt"), leaf)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        Handshake(client, stub_context(*own, [trust], ALPN)).run()
    Handshake(client, stub_context(*own, [trust], ALPN, strict=False)).run()


def test_an_intermediate_authority_can_be_trusted_without_its_root(
    installation: Installation, tmp_path: Path
) -> None:
    root = self_signed("root", (x509.BasicConstraints(True, None), True))
    middle = signed(
        Authority(root, "root"), [(NameOID.COMMON_NAME, "middle")], x509.BasicConstraints(True, 0)
    )
    trust = write_pair(tmp_path, "middle", middle).certificate
    leaf = write_pair(tmp_path, "bob", issue_user(Authority(middle, "middle"), "bob", [], lasting()))
    own = installation.path("server.crt"), installation.path("server.key")
    server = stub_context(*own, [trust], ALPN, strict=False)
    assert (
        Handshake(client_context(installation.path("server-ca.crt"), leaf), server)
        .run()
        .server.getpeercert(True)
    )


def lax_authority() -> Authority:
    """Without key identifiers and key usage, as many companies' and clusters' are."""
    return Authority(self_signed("corporate", (x509.BasicConstraints(True, None), True)), "corporate.crt")


# The agent's side ------------------------------------------------------------------------------


def test_an_agent_speaks_tls_1_3_only(installation: Installation, stub: ssl.SSLContext) -> None:
    stub.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        Handshake(agent_for(installation), stub).run()


def test_an_agent_verifies_the_stub_s_name(installation: Installation, stub: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Handshake(agent_for(installation), stub, "elsewhere.example.com").run()


def test_an_agent_verifies_the_stub_s_authority(installation: Installation, tmp_path: Path) -> None:
    imposter = Installation.make(tmp_path / "imposter")
    with pytest.raises(ssl.SSLCertVerificationError):
        Handshake(agent_for(installation), stub_for(imposter)).run()


def test_an_agent_certificate_of_the_right_authority_is_no_server_s(
    installation: Installation, tmp_path: Path
) -> None:
    pair = issue_agent(installation.store.authority("server-ca"), "dev", lasting())
    files = write_pair(tmp_path, "agent", pair)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        Handshake(agent_for(installation), server).run()


# Calls for certificates ------------------------------------------------------------------------


def test_a_call_verifies_the_stub_and_shows_a_pair_from_one_text(
    installation: Installation, stub: ssl.SSLContext, reader: PeerReader
) -> None:
    pair = installation.store.files("agent-dev").read()
    own = PemText("agent.pem", pair.certificate_pem + pair.key_pem)
    context = calling_context(PemFile(installation.path("server-ca.crt")), own)
    done = Handshake(context, stub).run()
    assert agent_cluster(reader.read(done.server.getpeercert(binary_form=True) or b"")) == "dev"
    assert (done.server.version(), done.server.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")


def test_a_call_to_another_stub_or_name_fails(
    installation: Installation, stub: ssl.SSLContext, tmp_path: Path
) -> None:
    context = calling_context(PemFile(installation.path("server-ca.crt")))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Handshake(context, stub, "elsewhere.example.com").run()
    with pytest.raises(ssl.SSLCertVerificationError):
        Handshake(context, stub_for(Installation.make(tmp_path / "imposter"))).run()


def test_a_call_that_is_proved_by_a_pin_verifies_nobody_and_shows_nothing(stub: ssl.SSLContext) -> None:
    done = Handshake(calling_context(None), stub, "anybody.example.com").run()
    assert done.server.getpeercert(binary_form=True) is None


# Upstream --------------------------------------------------------------------------------------


def test_an_apiserver_is_verified_and_told_who_calls(
    installation: Installation, stub: ssl.SSLContext
) -> None:
    pair = installation.user("kubelet")
    context = upstream_context(
        ca=PemFile(installation.path("server-ca.crt")),
        certificate=PemText("client-certificate-data", pair.certificate_pem),
        key=PemText("client-key-data", pair.key_pem),
        strict=True,
    )
    done = Handshake(context, stub).run()
    assert done.server.getpeercert(binary_form=True) is not None
    assert done.client.selected_alpn_protocol() == "http/1.1"


def test_a_self_signed_apiserver_can_be_trusted_as_it_is(tmp_path: Path) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    files = write_pair(tmp_path, "api", self_signed("api", (names, False)))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    Handshake(upstream_context(ca=PemFile(files.certificate)), server).run()
    with pytest.raises(ssl.SSLCertVerificationError):
        Handshake(upstream_context(ca=None), server).run()


def test_an_apiserver_s_common_name_is_no_host_name(tmp_path: Path) -> None:
    files = write_pair(tmp_path, "api", self_signed("localhost"))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        Handshake(upstream_context(ca=PemFile(files.certificate)), server).run()


def test_strictness_towards_an_apiserver_is_a_switch(tmp_path: Path) -> None:
    lax = lax_authority()
    files = write_pair(tmp_path, "api", issue_server(lax, [], lasting()))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    ca = PemText("certificate-authority-data", lax.pair.certificate_pem)
    Handshake(upstream_context(ca=ca), server).run()
    with pytest.raises(ssl.SSLCertVerificationError, match="does not include key usage"):
        Handshake(upstream_context(ca=ca, strict=True), server).run()


def test_insecure_verifies_nothing_and_excludes_an_authority(
    installation: Installation, stub: ssl.SSLContext
) -> None:
    Handshake(upstream_context(ca=None, insecure=True), stub, "wrong.example.com").run()
    with pytest.raises(CertificateProblem, match=r"server-ca\.crt: an authority makes no sense"):
        upstream_context(ca=PemFile(installation.path("server-ca.crt")), insecure=True)


def test_half_a_client_pair_is_refused(installation: Installation) -> None:
    with pytest.raises(CertificateProblem, match=r"user-alice\.key: .* needed together"):
        upstream_context(ca=None, key=PemFile(installation.path("user-alice.key")))


def test_an_upstream_authority_that_is_none_is_named() -> None:
    with pytest.raises(CertificateProblem, match=r"^ca-data: holds no usable PEM certificate"):
        upstream_context(ca=PemText("ca-data", b"nothing"))


# Errors ----------------------------------------------------------------------------------------


def test_an_expired_certificate_of_one_s_own_is_told_at_the_start(
    installation: Installation, tmp_path: Path
) -> None:
    files = write_pair(tmp_path, "late", self_signed("stub", lifetime=lasting(-3)))
    with pytest.raises(CertificateProblem, match=r"late\.crt: the certificate expired 3 d ago, on 20"):
        stub_context(files.certificate, files.key, [installation.path("user-ca.crt")], ALPN)


def test_a_wrong_key_is_told(installation: Installation) -> None:
    with pytest.raises(CertificateProblem, match=r"agent-dev\.key: the key does not belong"):
        stub_context(installation.path("server.crt"), installation.path("agent-dev.key"), [], ALPN)


def test_a_certificate_for_the_other_side_is_told(installation: Installation) -> None:
    ca, alice = installation.path("server-ca.crt"), installation.store.files("user-alice")
    with pytest.raises(CertificateProblem, match=r"user-alice\.crt: .* not for servers"):
        stub_context(alice.certificate, alice.key, [], ALPN)
    with pytest.raises(CertificateProblem, match=r"server\.crt: .* not for clients"):
        agent_context(installation.path("server.crt"), installation.path("server.key"), ca, [SESSION])


def test_a_leaf_is_not_taken_for_an_authority(installation: Installation) -> None:
    agent = installation.store.files("agent-dev")
    with pytest.raises(
        CertificateProblem, match=r"server\.crt: CN=cluster-tunnel stub is not an authority's"
    ):
        agent_context(agent.certificate, agent.key, installation.path("server.crt"), [SESSION])


def test_an_expired_authority_is_told_unless_another_beside_it_holds(
    installation: Installation, tmp_path: Path
) -> None:
    old = self_signed("old", (x509.BasicConstraints(True, None), True), lifetime=lasting(-1))
    bundle = tmp_path / "bundle.crt"
    bundle.write_bytes(old.certificate_pem)
    own = installation.path("server.crt"), installation.path("server.key")
    with pytest.raises(CertificateProblem, match=r"bundle\.crt: the authority expired 1 d ago"):
        stub_context(*own, [bundle], ALPN)
    bundle.write_bytes(old.certificate_pem + installation.path("user-ca.crt").read_bytes())
    Handshake(kubectl(installation), stub_context(*own, [bundle], ALPN)).run()


def test_a_key_too_weak_for_openssl_is_told(installation: Installation, tmp_path: Path) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    life = lasting()
    builder = x509.CertificateBuilder(name, name, weak.public_key(), 1, life.not_before, life.not_after)
    files = write_pair(tmp_path, "weak", KeyPair((builder.sign(weak, hashes.SHA256()),), weak))
    with pytest.raises(CertificateProblem, match=r"weak\.crt: OpenSSL refuses it: EE_KEY_TOO_SMALL"):
        stub_context(files.certificate, files.key, [installation.path("user-ca.crt")], ALPN)


def test_an_embedded_key_reaches_no_disk_where_memory_files_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", pytest.fail)
    if not hasattr(os, "memfd_create"):
        pytest.skip("this system has no memory files")
    with contexts._secret_path(b"secret") as path:
        assert Path(path).read_bytes() == b"secret"


def test_without_memory_files_a_private_temporary_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with contexts._secret_path(b"secret") as path:
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert Path(path).read_bytes() == b"secret"
    assert not Path(path).exists()
