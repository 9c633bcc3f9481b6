"""The admin listener, over a real socket of this machine's loopback."""

import aiohttp
import pytest

from tests import ports
from tunnel.aio.admin import AdminListener
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_it_serves_life_readiness_and_metrics(free_port: int) -> None:
    admin = AdminListener(lambda: "no session with a stub", lambda: b"metric 1\n")
    await admin.start(Address("127.0.0.1", free_port))
    try:
        assert await ask(free_port, "/livez") == (200, "ok\n")
        assert await ask(free_port, "/readyz") == (503, "no session with a stub\n")
        assert await ask(free_port, "/metrics") == (200, "metric 1\n")
    finally:
        await admin.stop()


async def test_a_busy_address_is_one_clear_line(free_port: int) -> None:
    first, second = (AdminListener(lambda: None, bytes) for _ in range(2))
    await first.start(Address("127.0.0.1", free_port))
    try:
        with pytest.raises(CommandFailed, match="--admin-listen"):
            await second.start(Address("127.0.0.1", free_port))
    finally:
        await first.stop()


@pytest.fixture
def free_port() -> int:
    return ports.free_port()
