"""Cuts what a client sends into requests."""

from typing import Any, Protocol

import httptools

from tunnel.core import limits
from tunnel.core.errors import BadRequest, HeadTooLarge
from tunnel.core.http.message import Field, RequestHead


class RequestListener(Protocol):
    """Hears of the requests on one connection, in order."""

    def request_began(self) -> None:
        """The first byte of a head arrived."""

    def head_received(self, head: RequestHead) -> None:
        """A head is whole."""

    def body_received(self, body: bytes) -> None:
        """Part of its body arrived."""

    def request_completed(self) -> None:
        """The request is whole."""


class RequestParser:
    """httptools with limits.

    Args:
        listener: hears what was cut.

    Attributes:
        in_head: whether a head has begun and is not whole.
        head_bytes: how much has arrived of what may become a head.
    """

    __slots__ = ("_fields", "_in_body", "_listener", "_parser", "_url", "head_bytes", "in_head")

    def __init__(self, listener: RequestListener) -> None:
        self._listener = listener
        # httptools declares its parser without types.
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._fields: list[Field] = []
        self._in_body = False
        self.in_head = False
        self.head_bytes = 0

    def feed(self, data: memoryview) -> int | None:
        """Parse `data`. Return where the bytes of an upgrade begin in it, or None.

        Raises:
            Refusal: the bytes behind cannot be told apart any more.
        """
        if not self._in_body:
            self.head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return int(upgrade.args[0])
        except httptools.HttpParserCallbackError as error:
            # What our own callback raised: a Refusal, or a mistake, for which no client is to blame.
            raise error.__context__ or error from None
        except httptools.HttpParserError as error:
            raise _malformed(error) from error
        if self.head_bytes > limits.HEAD_BYTES:
            raise _head_too_large()
        return None

    @property
    def version(self) -> str:
        """What stands behind `HTTP/` in the last request line."""
        version: str = self._parser.get_http_version()
        return version

    @property
    def may_keep_alive(self) -> bool:
        """Whether another request may follow the last one: behind an upgrade the parser stops, whatever becomes of it."""
        return bool(self._parser.should_keep_alive()) and not self._parser.should_upgrade()

    # What httptools calls --------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._fields = []
        self.in_head = True
        self._listener.request_began()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come through the same callback, behind the head; they are dropped (B3 of the wire notes: header injection).
        if not self.in_head:
            return
        # httptools leaves white space behind a value in place.
        self._fields.append((name, value.strip(b" \t")))
        if len(self._fields) > limits.FIELD_COUNT:
            raise _head_too_large()

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._in_body = True
        self.head_bytes = 0
        self._listener.head_received(RequestHead(self._parser.get_method(), self._url, self._fields))

    def on_body(self, body: bytes) -> None:
        self._listener.body_received(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._listener.request_completed()


def _malformed(error: Exception) -> BadRequest:
    return BadRequest(f"the request is not valid HTTP/1.1: {error}", close=True)


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge(
        f"the request's head is above {limits.HEAD_BYTES} bytes or {limits.FIELD_COUNT} fields", close=True
    )
