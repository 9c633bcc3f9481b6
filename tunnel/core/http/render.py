"""Heads as bytes. Nothing is checked here: a head must have passed `target.check_method`, `target.check_target` and
`fields.field_fault`, or whoever wrote it decides what the next hop reads."""

from http import HTTPStatus
from typing import Final

from tunnel.core.http.message import Field, RequestHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
"""The whole interim answer to `Expect: 100-continue`."""

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus
}


def render_request(head: RequestHead) -> bytes:
    """A request's head, down to the empty line. The fields, Host and framing included, must have been checked."""
    lines = [b"%b %b HTTP/1.1" % (head.method, head.target), *map(b": ".join, head.fields), b"\r\n"]
    return b"\r\n".join(lines)


def render_response(status: int, fields: list[Field]) -> bytes:
    """A response's head, down to the empty line. Status and fields must have been checked. The reason phrase is the
    standard one; the upstream's own is not relayed."""
    line = _STATUS_LINES.get(status) or b"HTTP/1.1 %d " % status
    return b"\r\n".join([line, *map(b": ".join, fields), b"\r\n"])
