"""What travels in one direction of an exec over WebSocket (RFC 6455; v4 and v5.channel.k8s.io and their elders).

Each message begins with a byte that names its stream. With the base64 subprotocols that byte is a digit, and the rest base64.
"""

import binascii
from collections.abc import Collection, Iterator
from typing import Final

from stub.recording.stdio import Piece, Stdio, Undecodable

_CONTINUATION: Final = 0
_KINDS: Final = frozenset({_CONTINUATION, 1, 2, 8, 9, 10})
_CONTROL: Final = 8
"""Opcodes from here on are control frames, which may come in the middle of a message (RFC 6455 5.5)."""
_CONTROL_BYTES: Final = 125
_LENGTH_BYTES: Final = {126: 2, 127: 8}


class WebSocketDecoder:
    """A `Decoder`.

    Args:
        wanted: the streams whose bytes are yielded.
        from_client: whether it is the client's direction.
        base64: whether messages are base64.
    """

    def __init__(self, wanted: Collection[Stdio], *, from_client: bool, base64: bool = False) -> None:
        self._wanted = wanted
        self._from_client = from_client
        self._base64 = Base64Pieces() if base64 else None
        self._head = bytearray()
        self._mask = b""
        self._left = 0  # of the frame under way
        self._at = 0  # what has come of it
        self._control = False
        self._final = True
        self._in_message = False
        self._channel: int | None = None

    def receive(self, data: memoryview) -> Iterator[Piece]:
        while data:
            if not self._left:
                data = self._take_head(data)
                continue
            taken, data = data[: self._left], data[self._left :]
            self._left -= len(taken)
            if not self._control:
                yield from self._payload(taken)
            if not self._left:
                self._frame_over()

    # Frames ----------------------------------------------------------------------------------------

    def _take_head(self, data: memoryview) -> memoryview:
        missing = self._head_bytes() - len(self._head)
        self._head += data[:missing]
        if len(self._head) == self._head_bytes():
            self._begin_frame(bytes(self._head))
            self._head.clear()
            if not self._left:
                self._frame_over()
        return data[missing:]

    def _head_bytes(self) -> int:
        if len(self._head) < 2:
            return 2
        masked, length = self._head[1] & 0x80, self._head[1] & 0x7F
        return 2 + _LENGTH_BYTES.get(length, 0) + (4 if masked else 0)

    def _begin_frame(self, head: bytes) -> None:
        opcode = head[0] & 0x0F
        if head[0] & 0x70 or opcode not in _KINDS:
            raise Undecodable("a WebSocket frame uses an extension that was not agreed on")
        length, size = head[1] & 0x7F, _LENGTH_BYTES.get(head[1] & 0x7F, 0)
        self._left = int.from_bytes(head[2 : 2 + size]) if size else length
        self._mask = head[2 + size :]
        self._at = 0
        final = bool(head[0] & 0x80)
        self._control = opcode >= _CONTROL
        if self._control:
            if not final or self._left > _CONTROL_BYTES:
                raise Undecodable("a WebSocket control frame is in pieces or too long")
            return
        self._begin_data(opcode, final)

    def _begin_data(self, opcode: int, final: bool) -> None:
        if self._left >> 63:
            raise Undecodable("a WebSocket frame has an impossible length")
        if (opcode == _CONTINUATION) is not self._in_message:
            raise Undecodable("a WebSocket message begins or goes on where it cannot")
        if self._in_message and self._from_client and self._channel is not None:
            # A kubelet (x/net/websocket) takes each piece for a message of its own, others join them. kubectl sends none in
            # pieces; so that nobody hides input from a recording by doing so, what is in doubt counts as input.
            self._channel = Stdio.STDIN
        self._in_message, self._final = True, final

    def _frame_over(self) -> None:
        if self._control or not self._final:
            return
        self._in_message, self._channel = False, None
        if self._base64 is not None:
            self._base64.end()

    # Payload ---------------------------------------------------------------------------------------

    def _payload(self, taken: memoryview) -> Iterator[Piece]:
        at, self._at = self._at, self._at + len(taken)
        if self._channel is None:
            first = unmasked(taken[:1], self._mask, at)[0]
            self._channel = first - ord("0") if self._base64 is not None else first
            at, taken = at + 1, taken[1:]
        if self._channel not in self._wanted or not taken:
            return
        plain = unmasked(taken, self._mask, at)
        if self._base64 is not None:
            plain = self._base64.take(plain)
        if plain:
            yield Stdio(self._channel), plain


def unmasked(data: memoryview, mask: bytes, at: int) -> bytes:
    """Return what was masked (RFC 6455 5.3); as one number, which is a hundred times faster than byte by byte.

    Args:
        mask: four bytes, or none.
        at: where in its frame `data` begins.
    """
    if not mask:
        return bytes(data)
    turned = mask[at % 4 :] + mask[: at % 4]
    key = (turned * (len(data) // 4 + 1))[: len(data)]
    return (int.from_bytes(data) ^ int.from_bytes(key)).to_bytes(len(data))


class Base64Pieces:
    """The base64 of one message, in pieces that may end within a group of four."""

    def __init__(self) -> None:
        self._rest = b""
        self._padded = False

    def take(self, text: bytes) -> bytes:
        """Return what is whole by now. Raises Undecodable: it is not base64."""
        text = self._rest + text
        whole = len(text) // 4 * 4
        text, self._rest = text[:whole], text[whole:]
        if not text:
            return b""
        if self._padded:
            raise Undecodable("a message is not base64")
        self._padded = text.endswith(b"=")
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            raise Undecodable("a message is not base64") from None

    def end(self) -> None:
        """The message is over. Raises Undecodable: in the middle of a group."""
        rest, self._rest, self._padded = self._rest, b"", False
        if rest:
            raise Undecodable("a message ends within its base64")
