"""One call for a certificate, as the endpoints hand it on."""

from dataclasses import dataclass, field

from certs.signed import read_body
from stub.signing.event import SigningEvent
from tunnel.core.errors import BadRequest


@dataclass(frozen=True, slots=True)
class SigningCall:
    """See the module.

    Attributes:
        body: as it came.
        certificate: what the connection shows, DER; None where it shows none.
        event: to be filled with what turns out.
    """

    body: bytes = field(repr=False)
    certificate: bytes | None = field(repr=False)
    event: SigningEvent

    def texts(self, *names: str) -> dict[str, str]:
        """Return the texts of the body, among them those with these names.

        Raises:
            BadRequest: it is no JSON object of texts, or one is missing.
        """
        try:
            return read_body(self.body, *names)
        except ValueError as error:
            raise BadRequest(str(error)) from None
