"""The calls that get certificates, as bodies and answers: what an agent or a user sends to the stub, and what comes back.

    GET  /.cluster-tunnel/ca       -                                        -> authority
    POST /.cluster-tunnel/join     token, request, clusterUid               -> certificate, authority
    POST /.cluster-tunnel/renew    request, clusterUid; an agent certificate -> certificate, authority
    POST /.cluster-tunnel/login    request, idToken or a user certificate   -> certificate, authority

Bodies are JSON objects of texts; certificates and requests are PEM. A refusal is a Kubernetes Status.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from certs.authority import lifetime_of
from certs.call import Answer
from certs.pem import PemText, certificates_pem, read_certificates, read_pair

ROOT: Final = "/.cluster-tunnel/"
CA: Final = f"{ROOT}ca"
JOIN: Final = f"{ROOT}join"
RENEW: Final = f"{ROOT}renew"
LOGIN: Final = f"{ROOT}login"

BODY_BYTES: Final = 64 * 1024
"""The largest body of a call: an id-token of 32 KiB beside a request."""

_MESSAGE_CHARACTERS: Final = 500


class SigningRefused(Exception):
    """The stub does not sign.

    Args:
        message: its words.
        status: 4xx where asking again is of no use, but for 429; 0 where the answer is nothing that a stub says.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def lasting(self) -> bool:
        """Whether the same call would be refused again."""
        return 400 <= self.status < 500 and self.status != 429


@dataclass(frozen=True, slots=True)
class Signed:
    """A certificate that was got.

    Attributes:
        certificate: PEM.
        authority: whom to trust as the stub, PEM.
    """

    certificate: bytes = field(repr=False)
    authority: bytes = field(repr=False)

    def check(self, key_pem: bytes) -> datetime:
        """Make sure that the certificate belongs to the key and both texts can be used; return when it expires.

        Raises:
            CertificateProblem: they cannot.
        """
        read_certificates(PemText("the stub's authority", self.authority))
        pair = read_pair(PemText("the new certificate", self.certificate), PemText("the new key", key_pem))
        return lifetime_of(pair.certificate).not_after


def join_body(token: str, request: bytes, uid: str) -> bytes:
    """Return the body of a join."""
    return _body({"token": token, "request": request.decode("ascii"), "clusterUid": uid})


def renew_body(request: bytes, uid: str) -> bytes:
    """Return the body of a renewal."""
    return _body({"request": request.decode("ascii"), "clusterUid": uid})


def login_body(request: bytes, id_token: str | None) -> bytes:
    """Return the body of a sign-in: with an id-token, or without one where the connection shows a user's certificate."""
    token = {} if id_token is None else {"idToken": id_token}
    return _body({"request": request.decode("ascii"), **token})


def _body(values: dict[str, str]) -> bytes:
    return json.dumps(values).encode()


def read_body(body: bytes, *names: str) -> dict[str, str]:
    """Return the texts of a call's body.

    Args:
        names: those that must be there.

    Raises:
        ValueError: it is no JSON object, or a text is missing or is none; the message names it.
    """
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("the body is not JSON") from None
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise ValueError("the body is not a JSON object of texts")
    try:
        # JSON can escape half of a surrogate pair, which no encoding has: whoever encodes such a text would fail.
        "".join(values.values()).encode()
    except UnicodeEncodeError:
        raise ValueError("a text in the body is not Unicode") from None
    for name in names:
        if not values.get(name):
            raise ValueError(f"the body has no {name!r}")
    return values


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that goes out.

    Attributes:
        body: of the answer.
        serial: in hexadecimal.
        expires: when it does.
    """

    body: bytes = field(repr=False)
    serial: str
    expires: datetime


def issued(certificate: x509.Certificate, authority: bytes) -> Issued:
    """Return the answer with a certificate, and with the stub's own authority, PEM."""
    texts = {
        "certificate": certificates_pem([certificate]).decode("ascii"),
        "authority": authority.decode("ascii"),
    }
    return Issued(_body(texts), f"{certificate.serial_number:x}", lifetime_of(certificate).not_after)


def authority_body(authority: bytes) -> bytes:
    """Return the body of an answer with the stub's authority alone."""
    return _body({"authority": authority.decode("ascii")})


def read_authority(answer: Answer) -> bytes:
    """Return the authority in an answer, PEM, which nobody has vouched for yet. Raises SigningRefused."""
    return _values(answer, "authority")["authority"].encode()


def read_signed(answer: Answer) -> Signed:
    """Return the certificate in an answer. Raises SigningRefused."""
    values = _values(answer, "certificate", "authority")
    return Signed(values["certificate"].encode(), values["authority"].encode())


def _values(answer: Answer, *names: str) -> dict[str, str]:
    if answer.status != 200:
        raise SigningRefused(_message(answer), answer.status)
    try:
        return read_body(answer.body, *names)
    except ValueError:
        raise SigningRefused("the answer is not a stub's; is something else in front of it?", 0) from None


def _message(answer: Answer) -> str:
    """The words of a Status, bounded and printable: they go to terminals and logs, and a stub is not trusted yet."""
    try:
        status: Any = json.loads(answer.body)
        text = status["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        text = None
    if not isinstance(text, str):
        return f"the answer is HTTP {answer.status} without a Status; is something else in front of the stub?"
    return "".join(char if char.isprintable() else " " for char in text[:_MESSAGE_CHARACTERS])
