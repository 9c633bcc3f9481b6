"""Port-forward: pairs of streams, half-close, refusals, and the tunnel through a WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.kubesim.streaming.connection import SpdyConnection, SpdyStream
from tests.kubesim.streaming.spdy_client import upgrade
from tests.unit.kubesim.streaming.scripted import POD_PATH, ScriptedBackend, serving
from tests.unit.kubesim.streaming.test_websocket import Socket, ask

TARGET = POD_PATH + "portforward"
PROTOCOL = "portforward.k8s.io"


@asynccontextmanager
async def forwarding(backend: ScriptedBackend) -> AsyncIterator[SpdyConnection]:
    async with serving(backend) as client:
        _, connection = await upgrade(client.reader, client.writer, TARGET, (PROTOCOL,))
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(connection.run())
            yield connection
            reading.cancel()


def open_pair(
    connection: SpdyConnection, port: str = "80", request_id: str | None = "0"
) -> tuple[SpdyStream, SpdyStream]:
    common = (("port", port), *((("requestid", request_id),) if request_id is not None else ()))
    error = connection.open((("streamtype", "error"), *common))
    return error, connection.open((("streamtype", "data"), *common))


async def test_bytes_reach_the_port_and_come_back() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        _, data = open_pair(connection)
        await data.replied()
        await data.write(b"question")
        await backend.dial_opened.wait()
        far = backend.dialled[0]
        assert await far.reader.read(100) == b"question"
        far.writer.write(b"answer")
        assert await data.read() == b"answer"


async def test_a_client_that_ended_its_half_still_gets_the_whole_answer() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        error, data = open_pair(connection)
        await data.replied()
        data.end()
        await backend.dial_opened.wait()
        far = backend.dialled[0]
        assert await far.reader.read() == b""
        far.writer.write(b"late answer")
        assert await data.read() == b"late answer"
        far.writer.close()
        assert await data.read() == b""
        assert await error.read() == b""


async def test_the_ports_end_reaches_the_client_behind_every_byte_and_ends_both_streams() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        error, data = open_pair(connection)
        await backend.dial_opened.wait()
        sent = bytes(range(256)) * 2000
        backend.dialled[0].writer.write(sent)
        backend.dialled[0].writer.write_eof()
        received = b""
        while piece := await data.read():
            received += piece
        data.reset()
        assert received == sent
        assert await error.read() == b""


async def test_a_refusing_port_is_told_on_the_error_stream() -> None:
    async with forwarding(ScriptedBackend()) as connection:
        error, data = open_pair(connection, port="1")
        told = await error.read()
        assert told.startswith(b"error forwarding port 1 to pod ")
        assert b"dial tcp4 127.0.0.1:1: connect: connection refused" in told
        assert await data.read() == b""


async def test_pairs_are_told_apart_by_their_request_id_however_they_are_interleaved() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        fields = [(("port", "80"), ("requestid", str(number))) for number in range(20)]
        for pair in fields:
            connection.open((("streamtype", "error"), *pair))
        datas = [connection.open((("streamtype", "data"), *pair)) for pair in reversed(fields)]
        await datas[-1].replied()
        for number, data in enumerate(datas):
            await data.write(b"%d" % number)
        while len(backend.dialled) < 20:
            await asyncio.sleep(0)
        assert {await far.reader.read(10) for far in backend.dialled} == {b"%d" % n for n in range(20)}


async def test_streams_without_a_request_id_pair_up_with_their_neighbour() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        _, data = open_pair(connection, request_id=None)
        await data.replied()
        await backend.dial_opened.wait()


@pytest.mark.parametrize("port", ["", "0", "65536", "http", "-1", "\u0661"])
async def test_a_stream_with_a_bad_port_is_reset(port: str) -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        error, data = open_pair(connection, port=port)
        assert (await error.read(), await data.read()) == (b"", b"")
        assert not backend.dialled


async def test_a_second_stream_of_the_same_kind_is_reset_and_the_pair_goes_on() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        fields = (("port", "80"), ("requestid", "0"))
        connection.open((("streamtype", "error"), *fields))
        second = connection.open((("streamtype", "error"), *fields))
        assert await second.read() == b""
        connection.open((("streamtype", "data"), *fields))
        await backend.dial_opened.wait()


async def test_the_end_of_the_connection_closes_what_was_dialled() -> None:
    backend = ScriptedBackend()
    async with forwarding(backend) as connection:
        open_pair(connection)
        await backend.dial_opened.wait()
    assert await backend.dialled[0].reader.read() == b""


async def test_a_websocket_carries_the_same_bytes_in_binary_messages() -> None:
    backend = ScriptedBackend()
    async with serving(backend) as client:
        head = await ask(client, TARGET, "SPDY/3.1+portforward.k8s.io")
        assert head.field("sec-websocket-protocol") == "SPDY/3.1+portforward.k8s.io"
        connection = SpdyConnection(Socket(client), client=True)
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(connection.run())
            _, data = open_pair(connection)
            await data.replied()
            await data.write(b"through the tunnel")
            await backend.dial_opened.wait()
            assert await backend.dialled[0].reader.read(100) == b"through the tunnel"
            backend.dialled[0].writer.write(b"and back")
            assert await data.read() == b"and back"
            reading.cancel()


async def test_a_websocket_without_the_tunnels_subprotocol_is_refused() -> None:
    async with serving(ScriptedBackend()) as client:
        assert (await ask(client, TARGET, "v5.channel.k8s.io")).code == 400
