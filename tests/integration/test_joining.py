"""An agent that has not joined yet, because its apiserver takes connections and says nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.dialer import run
from agent.settings import AgentSettings
from agent.workers import serve_with_workers
from tests.integration.waiting import soon
from tests.ports import free_port
from tunnel.kit.values import Address

Main = Callable[[AgentSettings, asyncio.Event], Coroutine[Any, Any, None]]


async def with_workers(settings: AgentSettings, stopping: asyncio.Event) -> None:
    def never(settings: AgentSettings, seat: object) -> None:
        raise AssertionError("there is no certificate to serve with")

    await serve_with_workers(settings, never, stopping, asyncio.Event())


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    (tmp_path / "bearer").write_text("the-agents-own-token")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield AgentSettings(
            stub=(Address("localhost", 1),),
            state=tmp_path / "state",
            upstream=f"https://127.0.0.1:{silent.getsockname()[1]}",
            token_file=tmp_path / "bearer",
            admin_listen=Address("127.0.0.1", free_port()),
            proxy="off",
        )


@contextlib.asynccontextmanager
async def joining(main: Main, settings: AgentSettings) -> AsyncIterator[asyncio.Event]:
    """An agent for as long as the block lasts, which has to end it."""
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(main(settings, stopping))
        yield stopping
        await soon(asyncio.wait([running]), 3)


async def ask(settings: AgentSettings, path: str) -> tuple[int, str] | None:
    """What an operator is answered; None where nobody listens."""
    try:
        url = f"http://{settings.admin_listen}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientConnectionError:
        return None


@pytest.mark.parametrize("main", [run, with_workers], ids=["one process", "workers"])
async def test_an_agent_that_joins_is_alive_and_not_ready_and_ends_when_told(
    main: Main, settings: AgentSettings
) -> None:
    async with joining(main, settings) as stopping:
        seen: list[tuple[int, str]] = []
        async with asyncio.timeout(10):
            while not seen:
                seen += filter(None, [await ask(settings, "/livez")])
        assert seen == [(200, "ok\n")]
        assert await ask(settings, "/readyz") == (503, "joining\n")
        answer = await ask(settings, "/metrics")
        assert answer is not None
        assert answer[0] == 200
        stopping.set()
    assert await ask(settings, "/livez") is None
