"""A stub's endpoints that issue, over a folder of authorities, with callers that hold keys and certificates."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from certs.csr import make_key, make_request
from certs.lifetime import utc_now
from certs.pem import KeyPair, PemFile, PemText, read_certificates
from certs.signed import JOIN, LOGIN, RENEW
from certs.tokenfile import TokenFile
from certs.tokens import pin_of
from stub.settings import StubSettings
from stub.signing.event import SigningEvent
from stub.signing.opening import open_signing, open_standing
from tests.unit.certs.installation import Installation, der, der_of

UID = "uid-of-prod"
ADDRESS = "192.0.2.1"


@dataclass
class Book:
    """A ledger that remembers."""

    events: list[SigningEvent] = field(default_factory=list)

    def signing_completed(self, event: SigningEvent) -> None:
        self.events.append(event)


@dataclass
class Reply:
    """An answer, its body parsed."""

    status: int
    fields: dict[str, str]
    values: dict[str, Any]

    @property
    def message(self) -> str:
        """Of a Status."""
        assert self.values["kind"] == "Status"
        assert self.values["code"] == self.status
        return str(self.values["message"])

    @property
    def certificate(self) -> Any:
        """What was issued."""
        assert self.status == 200, self.values
        return read_certificates(PemText("certificate", self.values["certificate"].encode()))[0]

    @property
    def der(self) -> bytes:
        """The same as a connection shows it."""
        return der_of(self.certificate)


class Desk:
    """See the module.

    Args:
        installation: the folder.
        settings: of the stub.
    """

    def __init__(self, installation: Installation, **settings: Any) -> None:
        self.installation = installation
        self.folder: Path = installation.store.folder
        self.book = Book()
        own = StubSettings(ca_dir=self.folder, **settings)
        self.standing = open_standing(own)
        self.endpoints = open_signing(own, self.standing, [self.book])
        self.key = make_key()

    @property
    def event(self) -> SigningEvent:
        """The only event since this was last asked."""
        (event,) = self.book.events
        self.book.events.clear()
        return event

    def token(self, cluster: str = "prod", uses: int = 1, life: timedelta = timedelta(hours=1)) -> str:
        """A new join token."""
        pin = pin_of(PemFile(self.folder / "server-ca.crt"))
        return TokenFile(self.folder).create(cluster, pin, life, uses, utc_now())[0].text

    async def ask(
        self,
        path: str,
        body: dict[str, Any] | bytes = b"",
        *,
        method: str = "POST",
        certificate: bytes | None = None,
        address: str = ADDRESS,
    ) -> Reply:
        """Call an endpoint; a body without a request gets this desk's."""
        if isinstance(body, dict):
            body = json.dumps({"request": make_request(self.key).decode(), **body}).encode()
        status, fields, text = await self.endpoints.answer(
            method.encode(), path.encode(), body, certificate, address
        )
        return Reply(status, {name.decode(): value.decode() for name, value in fields}, json.loads(text))

    async def join(self, token: str, uid: str = UID, **more: Any) -> Reply:
        return await self.ask(JOIN, {"token": token, "clusterUid": uid}, **more)

    async def renew(self, certificate: bytes | None, uid: str = UID) -> Reply:
        return await self.ask(RENEW, {"clusterUid": uid}, certificate=certificate)

    async def login(self, pair: KeyPair | None = None, **body: Any) -> Reply:
        return await self.ask(LOGIN, body, certificate=None if pair is None else der(pair))
