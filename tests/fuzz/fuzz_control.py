"""Target: what an operator's program says on the control socket."""

import asyncio
import json
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from tests.fuzz.material import Material, cut
from tests.fuzz.standins import StillLoop, still_loop
from tunnel.aio.control import REQUEST_BYTES, REQUEST_SECONDS, ControlConnection, ControlSocket
from tunnel.aio.operations import REPORT_SECONDS

SEEDS = (
    b'\5{"command": "drain"}\n',
    b'\5{"command": "profile", "seconds": 1, "hertz": 100}\n',
    b'\5{"command": "profile", "seconds": 1e400}\n{"command": "drain"}\n',
    b'\5{"command": ["drain"], "x": "\\ud800"}\n',
    b"\5[]\n",
    b"\5" + b"[" * 1200 + b"\n",
    b"\1\xff\xfe\n",
)


class Wire:
    """The transport of one connection, on which everything is sent at once."""

    def __init__(self) -> None:
        self.sent = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "words behind the last ones"
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def talked(loop: StillLoop, chunks: Iterable[bytes]) -> tuple[list[str], bool]:
    """The kinds of what is answered to `chunks`, and whether the process was told to drain."""
    stopping, wire = asyncio.Event(), Wire()
    control = ControlSocket(Path("unused"), stopping, lambda: 3)
    connection = ControlConnection(control)
    connection.connection_made(cast("asyncio.Transport", wire))
    for chunk in chunks:
        connection.data_received(chunk)
        assert len(connection._received) <= REQUEST_BYTES + len(chunk)
        loop.turn()
    if connection.operation is None:
        loop.advance(REQUEST_SECONDS)
        assert wire.closed, "it waits for ever"
    elif stopping.is_set():
        loop.advance(REPORT_SECONDS)
    connection.connection_lost(None)
    loop.turn()
    assert not control.connections
    said = [json.loads(line) for line in wire.sent.splitlines()]
    assert all(len(each) == 1 for each in said)
    return [next(iter(each)) for each in said], stopping.is_set()


def one_input(data: bytes) -> None:
    """Invariants: a request is carried out or answered by one error, the same byte by byte and in pieces; every answer is a line of
    JSON; a connection that says nothing sensible is closed; nothing is raised."""
    material = Material(data)
    size, stream = material.byte() + 1, material.rest()
    with still_loop() as loop:
        by_byte = talked(loop, cut(stream, 1))
        assert by_byte == talked(loop, cut(stream, size))
        assert by_byte == talked(loop, [stream])
