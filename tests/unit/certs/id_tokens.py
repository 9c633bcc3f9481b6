"""An issuer's side of id-tokens: keys, their public set, and tokens signed with them."""

import base64
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


class IssuerKey:
    """A key pair of an issuer.

    Args:
        id: its `kid`.
        algorithm: RS256 or ES256.
    """

    def __init__(self, id: str, algorithm: str = "ES256") -> None:
        self.id = id
        self.algorithm = algorithm
        self._key: Any
        if algorithm == "RS256":
            self._key = rsa.generate_private_key(65537, 2048)
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public(self) -> dict[str, Any]:
        """As a JWK."""
        shared = {"kid": self.id, "alg": self.algorithm, "use": "sig"}
        numbers = self._key.public_key().public_numbers()
        if self.algorithm == "RS256":
            return {**shared, "kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        return {
            **shared,
            "kty": "EC",
            "crv": "P-256",
            "x": encode(numbers.x.to_bytes(32, "big")),
            "y": encode(numbers.y.to_bytes(32, "big")),
        }

    def sign(self, claims: dict[str, Any], **head: Any) -> str:
        """Return a token; `head` changes its header, None takes a field out of it."""
        header = {"alg": self.algorithm, "kid": self.id, "typ": "JWT", **head}
        header = {name: value for name, value in header.items() if value is not None}
        signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
        return f"{signed}.{encode(self._signature(signed.encode()))}"

    def _signature(self, data: bytes) -> bytes:
        if self.algorithm == "RS256":
            return bytes(self._key.sign(data, padding.PKCS1v15(), hashes.SHA256()))
        first, second = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return first.to_bytes(32, "big") + second.to_bytes(32, "big")
