"""Disks that are full, descriptors that are used up, and places for handshakes that are taken."""

import asyncio
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from tests.faults.fleet import Plan, fleet
from tests.faults.http import Broken, Connection
from tests.faults.load import Client, fulfil, get, load, post

ALONE = Plan(stubs=1, agents=2, lease="none")


async def test_a_full_disk_costs_lines_of_the_audit_log_and_no_request(tmp_path: Path) -> None:
    async with fleet(tmp_path, ALONE) as found:
        (stub,) = found.stubs
        client = Client(lambda: stub.port, found.context)
        async with load(client) as users:
            await asyncio.sleep(0.5)
            written = len(stub.audit())
            stub.limit_files((tmp_path / "stub-0.audit").stat().st_size + 1000)
            await asyncio.sleep(2)
            assert len(stub.audit()) < written + 5
            stub.limit_files(None)
            async with asyncio.timeout(60):
                while len(stub.audit()) < written + 40:
                    await asyncio.sleep(0.1)
        assert not users.book.failed, users.book.described()
        assert stub.has_said("lines of a log are lost") == 1, "it is said once, not for each line"
        assert len(stub.audit()) < len(users.book.outcomes), "what was not written is lost"


async def test_the_log_goes_on_when_the_disk_is_full_no_more(tmp_path: Path) -> None:
    async with fleet(tmp_path, Plan(stubs=1, agents=1, lease="none")) as found:
        (stub,) = found.stubs
        stub.limit_files(0)
        await found.restart(found.agents[0])
        await found.whole()
        said = stub.has_said("an agent connected")
        stub.limit_files(None)
        await found.restart(found.agents[0])
        await found.whole()
        assert stub.has_said("an agent connected") > said


async def test_handshakes_that_break_in_the_middle_take_no_place_from_others(tmp_path: Path) -> None:
    plan = Plan(stubs=1, agents=1, lease="none", stub_flags=["--max-pending-handshakes=16"])
    async with fleet(tmp_path, plan) as found:
        (stub,) = found.stubs
        message = hello()
        for number in range(200):
            break_a_handshake(stub.port, message, number % 20 / 10_000)
        client = Client(lambda: stub.port, found.context)
        async with asyncio.timeout(60):
            # Those that the stub has still to look at take places for a moment.
            while (await fulfil(client, get("behind"))).problem:
                await asyncio.sleep(0.1)
        client.close()


def hello() -> bytes:
    """Return the first message of a handshake."""
    outgoing = ssl.MemoryBIO()
    beginning = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        beginning.do_handshake()
    return outgoing.read()


def break_a_handshake(port: int, message: bytes, seconds: float) -> None:
    """Begin one, and reset the connection after a moment, in which the stub may be at work on it."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(message)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        time.sleep(seconds)


async def test_a_stub_without_descriptors_serves_who_is_connected_and_everybody_when_it_has_some_again(
    tmp_path: Path,
) -> None:
    async with fleet(tmp_path, ALONE) as found:
        (stub,) = found.stubs
        client = Client(lambda: stub.port, found.context)
        assert not (await fulfil(client, get("before"))).problem
        async with asyncio.timeout(60):
            stub.limit_descriptors(0)
            while await refused(client, seconds=2) < 9:
                # A session that an agent had twice closed meanwhile, and left room for one connection.
                stub.limit_descriptors(0)
        for number in range(20):
            outcome = await fulfil(client, get(f"meanwhile-{number}"))
            assert not outcome.problem
        stub.limit_descriptors(None)
        assert await refused(client, seconds=10) == 0
        assert not (await fulfil(client, post("afterwards"))).problem
        client.close()
        await found.whole()


async def refused(client: Client, seconds: float) -> int:
    """Return how many of ten new connections are not served within so many seconds each."""
    count = 0
    for number in range(10):
        connection: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = await client.connect()
                await connection.ask("GET", get(f"new-{number}").target)
        except (OSError, Broken, TimeoutError):
            count += 1
        finally:
            if connection is not None:
                connection.close()
    return count


async def test_an_agent_without_descriptors_leaves_its_requests_to_another_one(tmp_path: Path) -> None:
    async with fleet(tmp_path, ALONE) as found:
        client = Client(lambda: found.service.port, found.context)
        found.agents[0].limit_descriptors(0)
        wishes = [wish(f"scarce-{n}", delay_milliseconds=500) for n in range(30) for wish in (get, post)]
        outcomes = await asyncio.gather(*(fulfil(client, wish) for wish in wishes))
        assert [outcome.problem for outcome in outcomes if outcome.problem] == []
        assert all(found.counting.created[wish.name] == 1 for wish in wishes if wish.name)
        assert found.agents[0].has_said("Too many open files")
        found.agents[0].limit_descriptors(None)
        client.close()
        await found.whole()
