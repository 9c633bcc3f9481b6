"""What the streams of an exec or attach are, whichever protocol carries them."""

from collections.abc import Iterator
from enum import IntEnum
from typing import Protocol


class Stdio(IntEnum):
    """The streams of a command. The value is the channel's byte in a WebSocket, the name what SPDY calls the stream."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    ERROR = 3
    """The exit status, as a Kubernetes Status."""
    RESIZE = 4
    """The terminal's sizes, as JSON."""


OUTPUT = frozenset({Stdio.STDOUT, Stdio.STDERR})

Piece = tuple[Stdio, bytes]
"""Bytes of a stream, as many as came at once."""


class Undecodable(Exception):
    """The bytes are not in the protocol that was agreed on; the text says how."""


class Decoder(Protocol):
    """Watches one direction of a connection. It keeps no more than a few KiB, whatever it is given."""

    def receive(self, data: memoryview) -> Iterator[Piece]:
        """Yield what `data` brings of the streams that are wanted.

        Args:
            data: what came next; used up before this ends.

        Raises:
            Undecodable: from here on nothing can be told; the decoder is of no further use.
        """
