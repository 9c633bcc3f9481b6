"""Requests cut out of what a client sends; most of it is tried through the connection (test_connection.py)."""

import pytest

from stub.front.parser import RequestParser
from tunnel.core import limits
from tunnel.core.errors import HeadTooLarge
from tunnel.core.http.message import RequestHead


class Listening:
    """Keeps the heads."""

    def __init__(self) -> None:
        self.heads: list[RequestHead] = []

    def request_began(self) -> None:
        """Nothing is kept of it."""

    def head_received(self, head: RequestHead) -> None:
        self.heads.append(head)

    def body_received(self, body: bytes) -> None:
        """Nothing is kept of it."""

    def request_completed(self) -> None:
        """Nothing is kept of it."""


def test_trailers_are_not_among_a_heads_fields() -> None:
    """Neither when it is told nor later: whoever keeps the head while the body comes must not find them there."""
    listening = Listening()
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    RequestParser(listening).feed(memoryview(head + b"1\r\na\r\n0\r\nImpersonate-User: admin\r\n\r\n"))
    assert [name for name, _ in listening.heads[0].fields] == [b"Host", b"Transfer-Encoding"]


def test_fields_without_end_are_refused_before_the_head_is_whole() -> None:
    listening = Listening()
    parser = RequestParser(listening)
    parser.feed(memoryview(b"GET / HTTP/1.1\r\nHost: x\r\n"))
    with pytest.raises(HeadTooLarge):
        parser.feed(memoryview(b"X: y\r\n" * (limits.FIELD_COUNT + 1)))
    assert listening.heads == []


def test_a_mistake_of_our_own_is_no_malformed_request() -> None:
    class Mistaken(Listening):
        def head_received(self, head: RequestHead) -> None:
            raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        RequestParser(Mistaken()).feed(memoryview(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
