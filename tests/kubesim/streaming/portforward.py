"""Port-forward over a SPDY connection, direct or tunnelled through a WebSocket.

Every local connection is a pair of streams with the same `requestid`: `error` and `data`.
"""

import asyncio
import hashlib
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.kubesim.containers import ContainerBackend, ContainerRefusal, PodName
from tests.kubesim.streaming.connection import SpdyConnection, SpdyStream, StreamReset

PORTFORWARD_PROTOCOL: Final = "portforward.k8s.io"
TUNNEL_PREFIX: Final = "SPDY/3.1+"
TUNNEL_PROTOCOL: Final = TUNNEL_PREFIX + PORTFORWARD_PROTOCOL

PUMP_BYTES = 64 * 1024
UPLOAD_GRACE_SECONDS: Final = 1.0
"""How long the client may go on sending once the pod's side has ended; containerd gives as much. kubectl up to 1.28
keeps the local connection open until the error stream ends, so this may not last."""
PAIR_SECONDS: Final = 30.0
"""From the first stream of a pair to the second."""


@dataclass(frozen=True, slots=True)
class _Half:
    """The stream of a pair that came first, and the timer that gives up on the second."""

    stream: SpdyStream
    expiry: asyncio.TimerHandle


class PortForwarder:
    """Serves the stream pairs of one connection."""

    def __init__(self, connection: SpdyConnection, backend: ContainerBackend, pod: PodName) -> None:
        self._connection = connection
        self._backend = backend
        self._pod = pod
        self._halves: dict[str, _Half] = {}

    async def run(self) -> None:
        """Serve pairs until cancelled, which drops all of their connections."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    pair = self._pair(await self._connection.accept())
                    if pair is not None:
                        tasks.create_task(self._forward(*pair))
        finally:
            for half in self._halves.values():
                half.expiry.cancel()

    def _pair(self, stream: SpdyStream) -> tuple[SpdyStream, SpdyStream] | None:
        """Accept a stream; return (error, data) once both are there."""
        request_id, kind = _request_id(stream), stream.field("streamtype")
        half = self._halves.get(request_id)
        if not _is_valid(stream) or (half is not None and half.stream.field("streamtype") == kind):
            stream.reset()
            return None
        stream.reply()
        if half is None:
            expiry = asyncio.get_running_loop().call_later(PAIR_SECONDS, self._expire, request_id)
            self._halves[request_id] = _Half(stream, expiry)
            return None
        half.expiry.cancel()
        del self._halves[request_id]
        return (half.stream, stream) if kind == "data" else (stream, half.stream)

    def _expire(self, request_id: str) -> None:
        self._halves.pop(request_id).stream.reset()

    async def _forward(self, error: SpdyStream, data: SpdyStream) -> None:
        port = int(data.field("port"))
        error.discard()
        try:
            reader, writer = await self._backend.dial(self._pod, port)
        except (OSError, ContainerRefusal) as failure:
            await self._fail(error, data, port, failure)
            return
        try:
            await _splice(data, reader, writer)
        finally:
            writer.close()
        data.end()
        error.end()

    async def _fail(self, error: SpdyStream, data: SpdyStream, port: int, failure: Exception) -> None:
        with suppress(StreamReset):
            await error.write(_failure_text(self._pod, port, failure).encode())
        # In this order: the client takes the text for the result, and an end of the data before it for success.
        error.end()
        data.reset()


def _is_valid(stream: SpdyStream) -> bool:
    port = stream.field("port")
    in_range = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    return in_range and stream.field("streamtype") in ("error", "data")


def _request_id(stream: SpdyStream) -> str:
    """Clients before 1.2 sent none; their pairs are neighbours, the error stream first."""
    if request_id := stream.field("requestid"):
        return request_id
    return str(stream.stream_id if stream.field("streamtype") == "error" else stream.stream_id - 2)


async def _splice(data: SpdyStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.TaskGroup() as tasks:
        uploading = tasks.create_task(_upload(data, writer))
        # A stream the client reset takes no more bytes: nothing is left to wait for.
        if await _download(reader, data):
            data.end()
            await asyncio.wait({uploading}, timeout=UPLOAD_GRACE_SECONDS)
        uploading.cancel()
    data.discard()


async def _upload(data: SpdyStream, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await data.read():
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    data.discard()


async def _download(reader: asyncio.StreamReader, data: SpdyStream) -> bool:
    """Return True at the pod's end of file, False where the client reset the stream."""
    try:
        while piece := await _read(reader):
            await data.write(piece)
    except StreamReset:
        return False
    return True


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(PUMP_BYTES)
    except OSError:
        return b""


def _failure_text(pod: PodName, port: int, failure: Exception) -> str:
    sandbox = hashlib.sha256(str(pod).encode()).hexdigest()
    if isinstance(failure, ContainerRefusal):
        reason = failure.message
    else:
        reason = (
            f'failed to execute portforward in network namespace "/var/run/netns/cni-{sandbox[:8]}": '
            f'failed to connect to localhost:{port} inside namespace "{sandbox}", '
            f"IPv4: dial tcp4 127.0.0.1:{port}: connect: {_words(failure)} "
            "IPv6 dial tcp6: address localhost: no suitable address found "
        )
    return f"error forwarding port {port} to pod {sandbox}, uid : {reason}"


def _words(failure: Exception) -> str:
    if isinstance(failure, ConnectionRefusedError):
        return "connection refused"
    return (getattr(failure, "strerror", None) or str(failure)).lower()
