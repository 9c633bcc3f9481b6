"""A request's and a response's head as the tunnel carries them: bytes, in the order and spelling received."""

from dataclasses import dataclass

Field = tuple[bytes, bytes]
"""Name as received (any case) and value without the white space around it."""


@dataclass(slots=True)
class RequestHead:
    """The first line and the fields of a request.

    Attributes:
        method: a token such as `GET`.
        target: origin-form, byte for byte as it was or will be on the wire.
        fields: in order; repeated names stay repeated.
    """

    method: bytes
    target: bytes
    fields: list[Field]


@dataclass(slots=True)
class ResponseHead:
    """The status and the fields of a response.

    Attributes:
        status: 100 to 599.
        fields: in order; repeated names stay repeated.
    """

    status: int
    fields: list[Field]
