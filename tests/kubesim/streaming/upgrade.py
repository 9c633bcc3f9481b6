"""From the head of an upgrade request to the end of its stream."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from tests.kubesim.containers import ContainerBackend, ContainerRefusal
from tests.kubesim.streaming.command_channels import (
    SPDY_PROTOCOLS,
    WEBSOCKET_PROTOCOLS,
    WebSocketChannels,
    collect_spdy_channels,
)
from tests.kubesim.streaming.connection import SpdyConnection
from tests.kubesim.streaming.faults import NO_FAULTS, StreamingFaults
from tests.kubesim.streaming.handshake import (
    PlainRefusal,
    negotiate_spdy,
    negotiate_websocket,
    spdy_head,
    switch_protocols,
    websocket_head,
    write_other_answer,
    write_plain_refusal,
    write_status_refusal,
)
from tests.kubesim.streaming.portforward import (
    PORTFORWARD_PROTOCOL,
    TUNNEL_PREFIX,
    TUNNEL_PROTOCOL,
    PortForwarder,
)
from tests.kubesim.streaming.remotecommand import CutShort, serve_command
from tests.kubesim.streaming.request import CommandOptions, NotAStream, StreamTarget, UpgradeRequest
from tests.kubesim.streaming.spdy import FrameEncoder
from tests.kubesim.streaming.spdy_frames import Ping
from tests.kubesim.streaming.websocket import WebSocketConnection, WebSocketWire
from tests.kubesim.streaming.wire import CLOSE_SECONDS, SocketWire, close

FIRST_PING: Final = 2
"""The id of the ping that the fault `first_frame_with_head` sends."""

_NO_STREAMS: Final = "you must specify at least 1 of stdin, stdout, stderr"


class Reading(Protocol):
    """What reads a connection while something else works with it."""

    async def run(self) -> None:
        """Read until the peer is gone."""

    def finish(self) -> None:
        """Say that all is over; `run` goes on until the peer has closed."""


async def serve_upgrade(
    request: UpgradeRequest,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    backend: ContainerBackend,
    *,
    faults: StreamingFaults = NO_FAULTS,
) -> None:
    """Serve one exec, attach or port-forward, from its answer's head to the end of its connection.

    Every refusal is answered here too. The connection is closed when this returns. Cancelling it kills the command
    and drops the connection.

    Args:
        reader: what follows the head, bytes that arrived with it included.
        backend: what runs behind the API.
        faults: what to do wrong on purpose.
    """
    upgrade = _Upgrade(request, reader, writer, backend, faults)
    try:
        await upgrade.serve()
    except ContainerRefusal as refusal:
        write_status_refusal(writer, refusal, _details(request, refusal))
    except PlainRefusal as refusal:
        write_plain_refusal(writer, refusal)
    except BaseException:
        writer.transport.abort()
        raise
    await close(writer)


def _details(request: UpgradeRequest, refusal: ContainerRefusal) -> dict[str, str] | None:
    with suppress(NotAStream):
        if refusal.code == 404:
            return {"name": request.target().pod.name, "kind": "pods"}
    return None


class _Upgrade:
    """One request on its way to a stream."""

    def __init__(
        self,
        request: UpgradeRequest,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        backend: ContainerBackend,
        faults: StreamingFaults,
    ) -> None:
        self._request = request
        self._reader = reader
        self._writer = writer
        self._backend = backend
        self._faults = faults

    async def serve(self) -> None:
        target = self._target()
        options = self._request.command_options()
        container = self._backend.container_of(target.pod, options.container)
        self._refuse_by_fault()
        if not self._request.wants_upgrade:
            raise ContainerRefusal(400, "BadRequest", "Upgrade request required")
        if self._faults.answer is not None:
            write_other_answer(self._writer, self._faults.answer)
        elif target.subresource == "portforward":
            await self._serve_portforward(target)
        else:
            await self._serve_command(target, container, options)

    def _target(self) -> StreamTarget:
        try:
            target = self._request.target()
        except NotAStream as error:
            raise ContainerRefusal(
                404, "NotFound", "the server could not find the requested resource"
            ) from error
        if self._request.method not in ("GET", "POST"):
            message = "the server does not allow this method on the requested resource"
            raise ContainerRefusal(405, "MethodNotAllowed", message)
        return target

    def _refuse_by_fault(self) -> None:
        faults = self._faults
        if faults.refuse_all or (faults.refuse_websocket and self._request.wants_websocket):
            raise ContainerRefusal(403, "Forbidden", "upgrades are forbidden: switched off by a test")

    async def _serve_command(self, target: StreamTarget, container: str, options: CommandOptions) -> None:
        if not (options.stdin or options.stdout or options.stderr):
            raise PlainRefusal(400, _NO_STREAMS)
        if self._request.wants_websocket:
            await self._command_over_websocket(target, container, options)
        else:
            await self._command_over_spdy(target, container, options)

    async def _command_over_websocket(
        self, target: StreamTarget, container: str, options: CommandOptions
    ) -> None:
        protocol = negotiate_websocket(self._request, WEBSOCKET_PROTOCOLS)
        await switch_protocols(self._writer, websocket_head(self._request, protocol), self._faults)
        connection = WebSocketConnection(self._reader, self._writer)
        sorting = WebSocketChannels(connection, protocol, options)
        sorting.announce()
        command = serve_command(sorting.channels, self._backend, target, container, options, self._faults)
        await self._work(sorting, command)

    async def _command_over_spdy(self, target: StreamTarget, container: str, options: CommandOptions) -> None:
        protocol = negotiate_spdy(self._request, SPDY_PROTOCOLS)
        connection = await self._switch_to_spdy(protocol)

        async def command() -> None:
            channels = await collect_spdy_channels(connection, protocol, options)
            if channels is not None:
                await serve_command(channels, self._backend, target, container, options, self._faults)

        await self._work(connection, command())

    async def _serve_portforward(self, target: StreamTarget) -> None:
        if self._request.wants_websocket:
            connection = await self._tunnel()
        else:
            connection = await self._switch_to_spdy(negotiate_spdy(self._request, (PORTFORWARD_PROTOCOL,)))
        await self._work(connection, PortForwarder(connection, self._backend, target.pod).run())

    async def _tunnel(self) -> SpdyConnection:
        offered = self._request.header_list("sec-websocket-protocol")
        if not any(protocol.startswith(TUNNEL_PREFIX) for protocol in offered):
            raise PlainRefusal(400, 'query parameter "port" is required')
        protocol = negotiate_websocket(self._request, (TUNNEL_PROTOCOL,))
        await switch_protocols(self._writer, websocket_head(self._request, protocol), self._faults)
        return SpdyConnection(WebSocketWire(WebSocketConnection(self._reader, self._writer)))

    async def _switch_to_spdy(self, protocol: str) -> SpdyConnection:
        # A PING has no header block, so an encoder of its own does no harm to the connection's.
        early = FrameEncoder().encode(Ping(FIRST_PING)) if self._faults.first_frame_with_head else b""
        await switch_protocols(self._writer, spdy_head(protocol), self._faults, early)
        return SpdyConnection(SocketWire(self._reader, self._writer))

    async def _work(self, connection: Reading, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` while `connection` reads; the first to end ends the other."""
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(connection.run())
            working = tasks.create_task(_unless_cut(work, self._writer.transport.abort))
            await asyncio.wait({reading, working}, return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            await asyncio.wait({working})
            connection.finish()
            if not self._faults.close_behind_status:
                # The client closes once it has read all; closing first could cost it the exit status.
                await asyncio.wait({reading}, timeout=CLOSE_SECONDS)
            reading.cancel()


async def _unless_cut(work: Coroutine[Any, Any, None], cut: Callable[[], None]) -> None:
    try:
        await work
    except* CutShort:
        cut()
