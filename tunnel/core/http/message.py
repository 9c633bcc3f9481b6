"""A request's and a response's head as the tunnel carries them: bytes, in the order and spelling received.

The fields of a head are there in two forms: a list for whoever judges them, and the block that travels in frames. Most heads
pass through an end of the tunnel without being judged field by field, so each form is made of the other only when it is asked for.
"""

from tunnel.core.wire.pairs import decode_pairs, encode_pairs

Field = tuple[bytes, bytes]
"""Name as received (any case) and value without the white space around it."""


class _Head:
    __slots__ = ("_block", "_fields")

    _fields: list[Field] | None
    _block: bytes | None

    @property
    def fields(self) -> list[Field]:
        """In order; repeated names stay repeated. Not to be changed."""
        if self._fields is None:
            self._fields = decode_pairs(self._block or b"")[1]
        return self._fields

    @property
    def block(self) -> bytes:
        """The fields as frames carry them. Raises LocalMisuse where one holds a NUL byte."""
        if self._block is None:
            self._block = encode_pairs(pairs=self._fields or [])
        return self._block


class RequestHead(_Head):  # noqa: PLW1641 compared in tests, never a key
    """The first line and the fields of a request.

    Args:
        method: a token such as `GET`.
        target: origin-form, byte for byte as it was or will be on the wire.
        fields, block: the fields, in one of their two forms.
    """

    __slots__ = ("method", "target")

    def __init__(
        self, method: bytes, target: bytes, fields: list[Field] | None = None, *, block: bytes | None = None
    ) -> None:
        self._fields = fields
        self._block = block
        self.method = method
        self.target = target

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RequestHead):
            return NotImplemented
        return (self.method, self.target, self.fields) == (other.method, other.target, other.fields)

    def __repr__(self) -> str:
        # Without values: some are secrets.
        return f"RequestHead({self.method!r}, {self.target!r}, {[name for name, _ in self.fields]})"


class ResponseHead(_Head):  # noqa: PLW1641 see RequestHead
    """The status and the fields of a response.

    Args:
        status: 100 to 599.
        fields, block: the fields, in one of their two forms.
    """

    __slots__ = ("status",)

    def __init__(self, status: int, fields: list[Field] | None = None, *, block: bytes | None = None) -> None:
        self._fields = fields
        self._block = block
        self.status = status

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ResponseHead):
            return NotImplemented
        return (self.status, self.fields) == (other.status, other.fields)

    def __repr__(self) -> str:
        return f"ResponseHead({self.status}, {[name for name, _ in self.fields]})"
