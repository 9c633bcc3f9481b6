"""Target: certificates as a peer shows them, and requests for certificates."""

import base64
import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import Final

from cryptography import x509

from certs.csr import REQUEST_BYTES, RequestRefused, read_request
from certs.denied import Denials, denial_of
from certs.errors import CertificateProblem, PeerRefused
from certs.lifetime import utc_now
from certs.peer import PeerReader, Signer, agent_cluster, cluster_uid_of, user_names
from certs.pem import PemText, read_certificates
from tests.fuzz.material import Material
from tunnel.core.errors import Forbidden
from tunnel.core.http.fields import field_fault
from tunnel.core.identity import Identity, check_identity, impersonation_fields

LEAF: Final = base64.b64decode(
    "MIIBhjCCASygAwIBAgIBAjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAd1c2VyLWNhMB4XDTI2MDEwMTAwMDAwMFoXDTM2MDEwMTAw"
    "MDAwMFowHzENMAsGA1UECgwEZGV2czEOMAwGA1UEAwwFYWxpY2UwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARgVTo8IJeWyae8"
    "laEereQtr+McYqpUm+im4UZnhRhRsoRuTuEZfPRaSkRFazrYY8/Em73S7OG8ZjtHCwSS359So2YwZDAfBgNVHSMEGDAWgBTNFEjM"
    "mlEOSTwsrMqh+rn7p20IszATBgNVHSUEDDAKBggrBgEFBQcDAjAsBgNVHREEJTAjhiFjbHVzdGVyLXR1bm5lbDovL2xvZ2luLzE5"
    "MDAwMDAwMDAwCgYIKoZIzj0EAwIDSAAwRQIhAIclwmyrrDQJIRODh4FYe3dfuRQ6+UQrnGI1U0jGnHMnAiAuwl6c1ebx4VT7QkSK"
    "kP9hlHXk6DUZ/8kMo4izkjULgA=="
)
"""`O=devs, CN=alice`, signed by `AUTHORITY`; both of no use to anybody, as their keys were thrown away."""

AUTHORITY: Final = base64.b64decode(
    "MIIBQzCB66ADAgECAgEBMAoGCCqGSM49BAMCMBIxEDAOBgNVBAMMB3VzZXItY2EwHhcNMjYwMTAxMDAwMDAwWhcNMzYwMTAxMDAw"
    "MDAwWjASMRAwDgYDVQQDDAd1c2VyLWNhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmXG15Ci+GUsX3rWWyN8UjVMclyHVUlCo"
    "DRfNJ0CCgd6OzvWWqqtY7xCypm/DMGONM7V6F99L0LcUE5cqCLM4RqMyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUzRRI"
    "zJpRDkk8LKzKofq5+6dtCLMwCgYIKoZIzj0EAwIDRwAwRAIgWtKI8BbaMJHF82AMkbQkHqHHJPRWmzoeKf17ikZOhXgCIDThW8S9"
    "+VuD9GqwA+REhl/F05WOGnhXNHLRGwUvoIa2"
)
AGENT: Final = base64.b64decode(
    "MIIBjzCCATWgAwIBAgIBAzAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAd1c2VyLWNhMB4XDTI2MDEwMTAwMDAwMFoXDTM2MDEwMTAw"
    "MDAwMFowEDEOMAwGA1UEAwwFYWdlbnQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARsaHs90FaS68ojlDxxaQnSxd3sMP5H+WOk"
    "NmyZ1nu5LP6jdbV5pukPXM3EPVRschZ/7Y2vSXf766/8DDgTejnco34wfDAfBgNVHSMEGDAWgBTNFEjMmlEOSTwsrMqh+rn7p20I"
    "szATBgNVHSUEDDAKBggrBgEFBQcDAjBEBgNVHREEPTA7hhtjbHVzdGVyLXR1bm5lbDovL2FnZW50L2JsdWWGHGNsdXN0ZXItdHVu"
    "bmVsOi8vY2x1c3Rlci91LTEwCgYIKoZIzj0EAwIDSAAwRQIgUOSbBia0byoP5UKDVcE2q+0+zz50Etj+yir/D6H2wYsCIQCrQImF"
    "z8nXMe9JjRZI18cgKpvbRluJPOhS3OquMQ031Q=="
)
REQUEST: Final = base64.b64decode(
    "MIG7MGICAQAwADBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGBVOjwgl5bJp7yVoR6t5C2v4xxiqlSb6KbhRmeFGFGyhG5O4Rl8"
    "9FpKREVrOthjz8SbvdLs4bxmO0cLBJLfn1KgADAKBggqhkjOPQQDAgNJADBGAiEA8EadStONjLaJWo5hwzKA7IydHIPJr5sCbQCg"
    "fGJhDIECIQDGNBFsyzpZ+A/3DYkNHv1tLiLZI3yhWLfZhGtD3uRT/w=="
)

SEEDS = (b"\0" + LEAF, b"\1" + AGENT, b"\2" + REQUEST, b"\0" + AUTHORITY, b"\3" + LEAF)

SIGNED: Final = {
    hashlib.sha256(x509.load_der_x509_certificate(der).tbs_certificate_bytes).hexdigest()
    for der in (LEAF, AUTHORITY)
}
REVOKED: Final = denial_of(x509.load_der_x509_certificate(LEAF), utc_now())
DENIALS: Final = Denials([REVOKED])

NOW: Final = 1_800_000_000.0
READER: Final = PeerReader([x509.load_der_x509_certificate(AUTHORITY)], [])


def check_peer(der: bytes) -> None:
    """A certificate is read or refused, and what it names can be a user, a cluster, or is refused."""
    try:
        peer = READER.read(der)
    except PeerRefused:
        return
    finally:
        READER.trust([x509.load_der_x509_certificate(AUTHORITY)], [])  # forget what was read
    assert peer.signed_by is None or peer.signed_part in SIGNED, "a signature that nobody made"
    if peer.signed_part == REVOKED.signed_part:
        assert DENIALS.refuses(peer), "a revoked certificate, encoded anew"
    with suppress(PeerRefused):
        agent_cluster(replace(peer, signed_by="agent-ca"))
    peer.problem_at(NOW), peer.valid_at(NOW)
    assert peer.renewable_until is None or peer.renewable_until >= 0
    cluster_uid_of(x509.load_der_x509_certificate(der))
    signer: Signer = "user-ca"
    with suppress(PeerRefused, Forbidden):
        user, groups = user_names(replace(peer, signed_by=signer))
        identity = Identity(user, groups)
        check_identity(identity)
        assert field_fault(impersonation_fields(identity)) is None
        assert not user.startswith("system:")


def armoured(der: bytes, kind: bytes) -> bytes:
    """The bytes as PEM."""
    body = base64.encodebytes(der)
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind, body, kind)


def one_input(data: bytes) -> None:
    """Invariants: a certificate is read or refused by PeerRefused, a request by RequestRefused, a file by CertificateProblem;
    no signature counts that the authority did not make; names that pass can stand in a header."""
    material = Material(data)
    kind, text = material.byte() % 4, material.rest()
    if kind in (0, 1):
        check_peer(text)
    elif kind == 2:
        with suppress(RequestRefused):
            read_request(armoured(text, b"CERTIFICATE REQUEST"))
        with suppress(RequestRefused):
            read_request(text)
            assert len(text) <= REQUEST_BYTES
    else:
        for pem in (text, armoured(text, b"CERTIFICATE")):
            with suppress(CertificateProblem):
                read_certificates(PemText("what came", pem))
