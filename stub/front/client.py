"""Who is at the other end of a user's connection, and what its requests may do: one connection's part of admission."""

from typing import TYPE_CHECKING

from certs.peer import PeerCertificate
from stub.front.admission import Admitted, Caller, Verdict
from stub.front.quotas import ConnectionCount
from tunnel.aio.stream import ByteStream
from tunnel.core.errors import Refusal
from tunnel.core.http.message import RequestHead
from tunnel.core.http.target import is_version_1_1

if TYPE_CHECKING:
    from stub.front.office import FrontOffice


class Client:
    """See the module. Who it is, is decided at its first request and holds for the connection.

    Args:
        office: has the checks and the counts.
        server_name: the SNI.

    Attributes:
        caller: who it is, once that is known.
    """

    __slots__ = ("_admission", "_count", "_server_name", "_stream", "caller")

    _stream: ByteStream

    def __init__(self, office: "FrontOffice", server_name: str | None) -> None:
        self._admission = office.admission
        self._count = ConnectionCount(office.quotas)
        self._server_name = server_name
        self.caller: Caller | None = None

    def opened(self, stream: ByteStream) -> None:
        """Its connection is ready."""
        self._stream = stream
        self._count.opened(stream.peer)

    def closed(self) -> None:
        """Its connection is gone; may be said more than once."""
        self._count.closed()

    @property
    def turned_away(self) -> bool:
        """Whether its connection is one too many, so that its first request is refused, whatever it asks."""
        return self._count.refusal is not None

    @property
    def certificate(self) -> PeerCertificate | None:
        """What it showed, once that is known."""
        return self.caller.peer if self.caller is not None else None

    def recognise(self, data: bytes) -> Verdict | None:
        """Return what is asked in a read whose like was admitted before, and whether it may be; None where it has to be parsed."""
        admitted = self._admission.recognise(data, self._server_name)
        if admitted is None:
            return None
        refusal: Refusal | None = None
        try:
            self._admission.authorise(self._authenticate(), admitted)
        except Refusal as fault:
            refusal = fault
        return Verdict(self.caller, admitted, refusal)

    def judge(self, head: RequestHead, version: str, data: bytes) -> Verdict:
        """Return what a request asks for, and whether it may.

        Args:
            head: as received.
            version: what stands behind `HTTP/` in its first line.
            data: the read in which it came; empty where it came with others or in pieces.
        """
        admitted: Admitted | None = None
        refusal: Refusal | None = None
        try:
            version_1_1 = is_version_1_1(version)
            caller = self._authenticate()
            admitted = self._admission.admit(
                head, version_1_1=version_1_1, server_name=self._server_name, data=data
            )
            self._admission.authorise(caller, admitted)
        except Refusal as fault:
            refusal = fault
        return Verdict(self.caller, admitted, refusal)

    def _authenticate(self) -> Caller:
        caller = self.caller
        if caller is None:
            caller = self.caller = self._identify()
            self._count.identified(caller.counted_as)
        if self._count.refusal is not None:
            raise self._count.refusal
        self._admission.check_dates(caller)
        return caller

    def _identify(self) -> Caller:
        try:
            return self._admission.authenticate(self._stream.tls, self._stream.peer)
        except Refusal:
            if self._count.refusal is not None:
                raise self._count.refusal from None  # it closes the connection, which a 401 does not
            raise
