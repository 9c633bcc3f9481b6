"""exec over WebSocket: channels, the close signal of v5, pings, and the polite end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.frames import Close, Frame, Opcode
from websockets.protocol import Protocol, Side

from tests.kubesim.streaming import NO_FAULTS, StreamingFaults
from tests.kubesim.streaming.spdy_client import AnswerHead, read_head
from tests.unit.kubesim.streaming.pipes import End
from tests.unit.kubesim.streaming.scripted import (
    POD_PATH,
    ScriptedBackend,
    cat,
    echo_and_exit,
    serving,
)

KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The example of RFC 6455, section 1.3."""
V5, V4, V1 = "v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"
EXEC = POD_PATH + "exec?command=run&command=me&stdout=true&stderr=true"


async def ask(
    client: End, target: str, protocol: str | None, key: str = KEY, version: int = 13
) -> AnswerHead:
    lines = [f"GET {target} HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"]
    lines += [f"Sec-WebSocket-Version: {version}", f"Sec-WebSocket-Key: {key}"]
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol is not None else []
    client.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    return await read_head(client.reader)


class Socket:
    """The client's side of a WebSocket: frames in and out, or a wire for a tunnel."""

    def __init__(self, end: End) -> None:
        self._end = end
        self.protocol = Protocol(Side.CLIENT)

    def send(self, message: bytes, *, fin: bool = True) -> None:
        self.protocol.send_binary(message, fin=fin)
        self.flush()

    def flush(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self._end.writer.write(data)

    async def read(self) -> bytes:
        """Return the payload of the next messages; empty at the end."""
        while data := await self._end.reader.read(65536):
            self.protocol.receive_data(data)
            events = self.protocol.events_received()
            if payload := b"".join(bytes(event.data) for event in events if isinstance(event, Frame)):
                return payload
        return b""

    def write(self, data: bytes) -> None:
        self.send(data)

    async def drain(self) -> None:
        await self._end.writer.drain()

    def say_end(self) -> None:
        self.protocol.send_close(1000)
        self.flush()

    async def frames(self) -> list[Frame]:
        """Return the frames that come up to the close, answering it, or to the end of the connection."""
        frames: list[Frame] = []
        while data := await self._end.reader.read(65536):
            self.protocol.receive_data(data)
            frames += [event for event in self.protocol.events_received() if isinstance(event, Frame)]
            self.flush()
        return frames


@asynccontextmanager
async def opened(
    backend: ScriptedBackend, target: str, protocol: str, faults: StreamingFaults = NO_FAULTS
) -> AsyncIterator[Socket]:
    async with serving(backend, faults) as client:
        head = await ask(client, target, protocol)
        assert (head.code, head.field("sec-websocket-accept")) == (101, ACCEPT)
        assert head.field("sec-websocket-protocol") == protocol
        yield Socket(client)


def channel(frames: list[Frame], number: int) -> bytes:
    messages = [bytes(frame.data) for frame in frames if frame.opcode is Opcode.BINARY]
    return b"".join(message[1:] for message in messages if message[0] == number)


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        (V5, "command terminated with exit code 7"),
        (V4, "error executing command [run me], exit code 7"),
    ],
)
async def test_an_exec_is_output_then_status_then_close_1000(protocol: str, message: str) -> None:
    async with opened(ScriptedBackend(echo_and_exit), EXEC, protocol) as socket:
        frames = await socket.frames()
    assert bytes(frames[0].data) == b"\x01"
    assert (channel(frames, 1), channel(frames, 2)) == (b"out", b"err")
    assert json.loads(bytes(frames[-2].data)[1:])["message"].endswith(message)
    assert Close.parse(bytes(frames[-1].data)).code == 1000


async def test_without_a_version_the_error_channel_is_plain_text() -> None:
    async with opened(ScriptedBackend(echo_and_exit), EXEC, V1) as socket:
        assert channel(await socket.frames(), 3).endswith(b"exit code 7")


async def test_the_close_signal_of_v5_ends_stdin() -> None:
    async with opened(ScriptedBackend(cat), EXEC + "&stdin=true", V5) as socket:
        socket.send(b"\x00abc")
        socket.send(b"\xff\x00")
        frames = await socket.frames()
    assert channel(frames, 1) == b"abc"
    assert json.loads(channel(frames, 3))["status"] == "Success"


async def test_a_message_in_fragments_is_one_message() -> None:
    async with opened(ScriptedBackend(cat), EXEC + "&stdin=true", V5) as socket:
        socket.send(b"\x00ab", fin=False)
        socket.protocol.send_continuation(b"\x01cd", fin=True)
        socket.send(b"\xff\x00")
        assert channel(await socket.frames(), 1) == b"ab\x01cd"


async def test_a_ping_is_answered_while_the_command_is_silent() -> None:
    backend = ScriptedBackend(cat)
    async with opened(backend, EXEC + "&stdin=true", V5) as socket:
        socket.protocol.send_ping(b"alive?")
        socket.flush()
        socket.send(b"\xff\x00")
        frames = await socket.frames()
    assert [bytes(frame.data) for frame in frames if frame.opcode is Opcode.PONG] == [b"alive?"]


@pytest.mark.parametrize("message", [b"\xff", b"\xff\x00\x00", b"\xff\x09"])
async def test_a_malformed_close_signal_ends_the_session_and_the_command(message: bytes) -> None:
    backend = ScriptedBackend()
    async with opened(backend, EXEC + "&stdin=true", V5) as socket:
        while not backend.processes:
            await asyncio.sleep(0)
        socket.send(message)
        await socket.frames()
        assert backend.processes[0].killed.is_set()


async def test_a_channel_nobody_asked_for_is_ignored() -> None:
    async with opened(ScriptedBackend(echo_and_exit), EXEC, V5) as socket:
        socket.send(b"\x00no stdin was asked for")
        socket.send(b"\x09no such channel")
        assert channel(await socket.frames(), 1) == b"out"


@pytest.mark.parametrize(
    ("protocol", "key", "version", "code"),
    [
        ("v9.channel.k8s.io", KEY, 13, 403),
        (V5, "short", 13, 400),
        (V5, "c2hvcnQ=", 13, 400),
        (V5, KEY, 12, 400),
    ],
)
async def test_a_bad_handshake_is_refused(protocol: str, key: str, version: int, code: int) -> None:
    async with serving(ScriptedBackend()) as client:
        assert (await ask(client, EXEC, protocol, key, version)).code == code


async def test_the_fault_refuse_websocket_is_a_403_status() -> None:
    async with serving(ScriptedBackend(), StreamingFaults(refuse_websocket=True)) as client:
        assert (await ask(client, EXEC, V5)).code == 403
        assert json.loads(await client.reader.read())["reason"] == "Forbidden"
