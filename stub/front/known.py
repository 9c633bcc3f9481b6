"""Heads whose bytes have been seen before need not be parsed again.

A client sends the same fields with each request, down to the byte; only the request line differs. So what parser and checks made
of a head's other lines is remembered by those lines: 8 instead of 45 µs a request. Only plain heads are: whole within one read,
without a body, an upgrade or anything else that makes a value matter, and without a secret, which would be kept in memory.
"""

from typing import Final, NamedTuple

from tunnel.core import limits
from tunnel.core.errors import Refusal
from tunnel.core.http.fields import lookup
from tunnel.core.http.message import Field, RequestHead
from tunnel.core.http.target import check_target

CAPACITY: Final = 1024
"""Heads remembered, at most 4 KiB each."""

READ_BYTES: Final = 8 * limits.KIB
"""A larger read is not looked up."""

_LINES_BYTES: Final = 4 * limits.KIB
_END: Final = b"\r\n\r\n"
_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_SECRETS: Final = (b"authorization", b"proxy-authorization", b"cookie", b"sec-websocket-protocol")


class KnownHead(NamedTuple):
    """A request whose field lines were seen before.

    Attributes:
        method, target: of its request line, checked.
        host: the value of its Host.
        block: what may travel on of its fields.
    """

    method: bytes
    target: bytes
    host: bytes
    block: bytes


class KnownHeads:
    """Field lines seen before, in the stub's own memory."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[bytes, bytes]] = {}

    def recognise(self, data: bytes) -> KnownHead | None:
        """Return what one read at the beginning of a request says, or None where it has to be parsed."""
        end = data.find(b"\r\n")
        known = self._known.get(data[end:])
        if known is None:
            return None
        words = data[:end].split(b" ")
        if len(words) != 3 or words[2] != b"HTTP/1.1" or words[0] not in _METHODS:
            return None
        try:
            check_target(words[1])
        except Refusal:
            return None  # the long way says it
        return KnownHead(words[0], words[1], *known)

    def learn(self, data: bytes, head: RequestHead, kept: list[Field]) -> None:
        """Remember a head that was quick to judge, where it may be.

        Args:
            data: the read in which it came.
            head: what the parser made of it.
            kept: what may travel on of its fields.
        """
        line = b"%b %b HTTP/1.1\r\n" % (head.method, head.target)
        lines = data[len(line) - 2 :]
        if not data.startswith(line) or data.find(_END) != len(data) - len(_END) or len(lines) > _LINES_BYTES:
            return
        count = (
            len(head.fields) + 2
        )  # a line's end behind the request line, behind each field, and behind the empty line
        if lines.count(b"\r\n") != count or lines.count(b"\n") != count or lines.count(b"\r") != count:
            return
        if any(lookup(head.fields, name) for name in _SECRETS):
            return
        if len(self._known) >= CAPACITY:
            self._known.clear()
        host = lookup(head.fields, b"host")[0]
        self._known[lines] = (host, RequestHead(head.method, head.target, kept).block)
