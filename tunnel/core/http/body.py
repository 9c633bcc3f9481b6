"""How a body's end is found, how it is written, and what `Expect` asks for.

Stricter than RFC 9112 where readers are known to disagree: two ways to say where a body ends are never both believed.
"""

from typing import Final, NoReturn

from tunnel.core.errors import BadGateway, BadRequest, ExpectationFailed
from tunnel.core.http.fields import connection_tokens, lookup
from tunnel.core.http.message import Field

BodyLength = int
"""Bytes, or one of the three below, all negative."""

CHUNKED: Final = -1
"""The body comes in chunks."""

UNTIL_CLOSE: Final = -2
"""The body ends where the connection does (responses only)."""

NONE: Final = -3
"""There is no body, whatever the fields say (responses only)."""

LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body, without trailers: kubectl uses none, and they are a known way to smuggle fields."""

CHUNK_END: Final = b"\r\n"
"""Stands behind each chunk's bytes."""

_LENGTH_DIGITS: Final = 18  # below 2**63, which Go and llhttp refuse as well
_FRAMING_SIZES: Final = frozenset({len(b"content-length"), len(b"transfer-encoding")})
_METHODS_WITH_BODY: Final = frozenset({b"POST", b"PUT", b"PATCH"})


def request_body(version_1_1: bool, fields: list[Field]) -> BodyLength:
    """How long a request's body is: bytes, 0 where no field speaks of one, or `CHUNKED`.

    Args:
        version_1_1: False for HTTP/1.0, which knows no chunks.
        fields: as received, before any sanitising.

    Raises:
        BadRequest: the length is ambiguous or malformed, a transfer coding other than `chunked` is named, or an
            upgrade has a body. The connection must close: where the next request begins is not known.
    """
    codings, lengths = _framing(fields)
    if codings:
        if not version_1_1:
            _refuse("HTTP/1.0 knows no Transfer-Encoding")
        _check_codings(codings, lengths)
    length = CHUNKED if codings else _content_length(lengths)
    if length and (lookup(fields, b"upgrade") or b"upgrade" in connection_tokens(fields)):
        # Parsers hand what follows an upgrade's head to the pipe, so a body would be taken for its first bytes, or the
        # other way round (CVE-2026-69243).
        _refuse("an upgrade request must not have a body")
    return length


def _framing(fields: list[Field]) -> tuple[list[bytes], list[bytes]]:
    """The values of Transfer-Encoding and of Content-Length; both in one pass, as most requests have neither."""
    framing = [(name.lower(), value.strip(b" \t")) for name, value in fields if len(name) in _FRAMING_SIZES]
    codings = [value for name, value in framing if name == b"transfer-encoding"]
    return codings, [value for name, value in framing if name == b"content-length"]


def _check_codings(codings: list[bytes], lengths: list[bytes]) -> None:
    if lengths:
        _refuse("the message has both Content-Length and Transfer-Encoding")
    if len(codings) > 1 or codings[0].lower() != b"chunked":
        _refuse("the Transfer-Encoding is not exactly 'chunked'")


def _content_length(lengths: list[bytes]) -> int:
    if not lengths:
        return 0
    if len(lengths) > 1:
        _refuse("the field Content-Length is repeated")
    # bytes.isdigit is ASCII only; int() alone would take signs, underscores and white space.
    if not lengths[0].isdigit() or len(lengths[0]) > _LENGTH_DIGITS:
        _refuse("the Content-Length is not a plain decimal number")
    return int(lengths[0])


def _refuse(text: str) -> NoReturn:
    raise BadRequest(text, close=True)


def response_body(request_method: bytes, status: int, fields: list[Field]) -> BodyLength:
    """How long a response's body is: bytes, `CHUNKED`, `UNTIL_CLOSE` or `NONE`.

    Args:
        request_method: an answer to HEAD has no body.
        status: 1xx, 204 and 304 have none either.
        fields: as received, before any sanitising.

    Raises:
        BadGateway: the length is ambiguous or malformed; that upstream connection must not be used again.
    """
    if request_method == b"HEAD" or status < 200 or status in (204, 304):
        return NONE
    codings, lengths = _framing(fields)
    try:
        if codings:
            _check_codings(codings, lengths)
            return CHUNKED
        return _content_length(lengths) if lengths else UNTIL_CLOSE
    except BadRequest as fault:
        raise BadGateway(f"the upstream's answer is ambiguous: {fault.message}") from fault


def declared_length(fields: list[Field]) -> int | None:
    """The Content-Length of a response that has no body (to HEAD, or a 304), which tells what a GET would bring.

    Returns:
        None where there is none, or it is malformed: it frames nothing here, so it is left out instead of refused.
    """
    lengths = lookup(fields, b"content-length")
    try:
        return _content_length(lengths) if lengths else None
    except BadRequest:
        return None


def request_framing(method: bytes, length: BodyLength) -> list[Field]:
    """The framing fields of a request that is written anew: a length of 0 is told only where the method expects a
    body (RFC 9110 8.6)."""
    if not length and method not in _METHODS_WITH_BODY:
        return []
    return response_framing(length)


def response_framing(length: BodyLength) -> list[Field]:
    """The framing fields of a response that is written anew; none for `NONE` and `UNTIL_CLOSE`."""
    if length >= 0:
        return [(b"Content-Length", b"%d" % length)]
    return [(b"Transfer-Encoding", b"chunked")] if length == CHUNKED else []


def chunk_head(size: int) -> bytes:
    """What stands in front of a chunk of `size` bytes; a `CHUNK_END` follows them.

    Raises:
        ValueError: `size` is not positive; a chunk of 0 would end the body.
    """
    if size <= 0:
        raise ValueError(f"a chunk of {size} bytes cannot be written")
    return b"%x\r\n" % size


def expects_continue(version_1_1: bool, fields: list[Field]) -> bool:
    """Whether the client waits for a 100 before it sends its body.

    Args:
        version_1_1: an HTTP/1.0 client must not be sent a 100, so its `100-continue` is ignored (RFC 9110 10.1.1).
        fields: as received.

    Raises:
        ExpectationFailed: it expects anything else. The connection must close: whether a body follows is not known.
    """
    expectations = lookup(fields, b"expect")
    for value in expectations:
        if value.lower() != b"100-continue":
            raise ExpectationFailed("the only expectation that is met here is 100-continue", close=True)
    return bool(expectations) and version_1_1
