"""Heads as bytes. Nothing is checked here: a head must have passed `target.check_method`, `target.check_target` and
`fields.field_fault`, or whoever wrote it decides what the next hop reads."""

from http import HTTPStatus
from typing import Final

from tunnel.core.http.message import Field

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The whole interim answer to `Expect: 100-continue`."""

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}


def field_lines(fields: list[Field]) -> bytes:
    """Fields as they stand in a head, each with its line's end."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def render_request(method: bytes, target: bytes, *lines: bytes) -> bytes:
    """A request's head, down to the empty line.

    Args:
        method, target: checked.
        lines: see `field_lines`; Host and framing included.
    """
    return b"".join((method, b" ", target, b" HTTP/1.1\r\n", *lines, b"\r\n"))


def render_response(status: int, *lines: bytes) -> bytes:
    """A response's head, down to the empty line. The reason phrase is the standard one; the upstream's own is not relayed.

    Args:
        status: checked.
        lines: see `field_lines`; framing included.
    """
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status
    return b"".join((line, *lines, b"\r\n"))
