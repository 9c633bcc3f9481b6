"""The channels of exec and attach over each transport, and the protocol versions that shape them."""

import asyncio
from contextlib import suppress
from typing import Final

from tests.kubesim.streaming.connection import SpdyConnection, SpdyStream, StreamReset
from tests.kubesim.streaming.inbox import Inbox
from tests.kubesim.streaming.remotecommand import CommandChannels
from tests.kubesim.streaming.request import CommandOptions
from tests.kubesim.streaming.status import plain_text, status_v4, status_v5
from tests.kubesim.streaming.websocket import WebSocketConnection

V1: Final = "channel.k8s.io"
V2, V3, V4, V5 = (f"v{number}.{V1}" for number in (2, 3, 4, 5))

SPDY_PROTOCOLS: Final = (V4, V3, V2, V1)
"""kubelet's list. A client that offers v5 first ends up with v4: v5 exists on WebSocket alone."""

WEBSOCKET_PROTOCOLS: Final = (V5, V4, V1, "")
"""Without the base64 variants, which no client of today sends."""

STREAM_SECONDS: Final = 30.0
"""From the 101 to the last of the client's streams."""

_CLOSE_CHANNEL: Final = 255
_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE = range(5)


async def collect_spdy_channels(
    connection: SpdyConnection, protocol: str, options: CommandOptions
) -> CommandChannels | None:
    """Accept the streams the options call for; None where they do not all come within `STREAM_SECONDS`."""
    expected = {"error"}
    expected |= {name for name in ("stdin", "stdout", "stderr") if getattr(options, name)}
    if options.tty and protocol in (V3, V4):
        expected.add("resize")
    streams: dict[str, SpdyStream] = {}
    with suppress(TimeoutError):
        async with asyncio.timeout(STREAM_SECONDS):
            while expected - streams.keys():
                stream = await connection.accept()
                stream.reply()
                kind = stream.field("streamtype")
                if kind not in ("stdin", "resize") or kind in streams:
                    stream.discard()
                streams.setdefault(kind, stream)
    if expected - streams.keys():
        return None
    if protocol == V1:
        _keep_promises_of_v1(streams)
    return CommandChannels(
        stdin=streams.get("stdin"),
        stdout=streams.get("stdout"),
        stderr=streams.get("stderr"),
        resize=streams.get("resize"),
        error=streams["error"],
        describe=status_v4 if protocol == V4 else plain_text,
    )


def _keep_promises_of_v1(streams: dict[str, SpdyStream]) -> None:
    """Kubelet 1.0 reset the error stream and closed its half of stdin at once, and v1 still means that."""
    streams["error"].reset()
    if "stdin" in streams:
        streams["stdin"].end()


class ChannelSink:
    """An output channel of a WebSocket: a number in front of every message. The end has no message of its own."""

    def __init__(self, connection: WebSocketConnection, number: int) -> None:
        self._connection = connection
        self._prefix = bytes((number,))

    async def write(self, data: bytes) -> None:
        self._connection.send(self._prefix + data)
        try:
            await self._connection.drain()
        except ConnectionError as error:
            raise StreamReset(f"channel {self._prefix[0]}: connection gone") from error

    def end(self) -> None:
        """Nothing to say: the exit status and the close frame end every channel."""


class WebSocketChannels:
    """The channels of one WebSocket; `run` sorts what arrives into them."""

    def __init__(self, connection: WebSocketConnection, protocol: str, options: CommandOptions) -> None:
        self._connection = connection
        self._closable = protocol == V5
        self._inputs = {_RESIZE: Inbox()}
        if options.stdin:
            self._inputs[_STDIN] = Inbox()
        self.channels = CommandChannels(
            stdin=self._inputs.get(_STDIN),
            stdout=ChannelSink(connection, _STDOUT) if options.stdout else None,
            stderr=ChannelSink(connection, _STDERR) if options.stderr else None,
            resize=self._inputs[_RESIZE],
            error=ChannelSink(connection, _ERROR),
            describe={V5: status_v5, V4: status_v4}.get(protocol, plain_text),
        )

    def announce(self) -> None:
        """Send the empty message by which the apiserver says that the connection stands."""
        if self.channels.stdout is not None:
            number = _STDOUT
        else:
            number = _STDERR if self.channels.stderr is not None else _ERROR
        self._connection.send(bytes((number,)))

    async def run(self) -> None:
        """Read until the client is gone or breaks the protocol; then every input ends."""
        try:
            while messages := await self._connection.receive():
                if not await self._sort(messages):
                    break
        finally:
            for inbox in self._inputs.values():
                inbox.end()

    def finish(self) -> None:
        """Say that all is over; `run` goes on until the client has closed."""
        for inbox in self._inputs.values():
            inbox.discard()
        self._connection.close()

    async def _sort(self, messages: list[bytes]) -> bool:
        for message in messages:
            if self._closable and message[:1] == bytes((_CLOSE_CHANNEL,)):
                if len(message) != 2 or message[1] > _RESIZE:
                    return False
                inbox = self._inputs.get(message[1])
                if inbox is not None:
                    inbox.end()
            elif message and message[0] in self._inputs:
                inbox = self._inputs[message[0]]
                inbox.feed(message[1:])
                await inbox.room()
        return True
