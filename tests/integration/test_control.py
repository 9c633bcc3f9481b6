"""The control socket, over a real one, and what an operator asks by it."""

import asyncio
import json
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.dialer import run as run_agent
from stub.server import serve
from stub.settings import StubSettings
from tests.integration.client import request
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import soon, until
from tunnel.aio import control
from tunnel.aio.control import control_socket
from tunnel.cli.asking import ask
from tunnel.kit.failures import CommandFailed
from tunnel.kit.sampling import Sampler
from tunnel.kit.values import Address


@dataclass
class Process:
    """Something that runs until it is told to drain."""

    path: Path
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    running: int = 0
    reports: list[Mapping[str, Any]] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with control_socket(self.path, self.stopping, lambda: self.running):
            yield

    async def ask(self, **request: object) -> Mapping[str, Any]:
        """As the command does, from another thread."""
        return await soon(asyncio.to_thread(ask, self.path, request, self.reports.append))

    async def say(self, text: bytes) -> Mapping[str, Any]:
        """Send anything and return the answer's last line."""
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(text)
        lines = (await soon(reader.read())).splitlines()
        writer.close()
        await writer.wait_closed()
        answer: dict[str, Any] = json.loads(lines[-1])
        return answer


@pytest.fixture
def process(tmp_path: Path) -> Process:
    return Process(tmp_path / "control")


# Draining ------------------------------------------------------------------------------------------


async def test_a_drain_stops_the_process_reports_and_ends_with_it(process: Process) -> None:
    process.running = 2
    async with process.listening():
        asking = asyncio.get_running_loop().create_task(process.ask(command="drain"))
        await soon(process.stopping.wait())
        await until(lambda: process.reports)
        process.running = 0
    assert await asking == {"running": 0}
    assert process.reports[0] == {"running": 2}


async def test_what_was_broken_off_at_the_end_is_told(process: Process) -> None:
    process.running = 1
    async with process.listening():
        asking = asyncio.get_running_loop().create_task(process.ask(command="drain"))
        await soon(process.stopping.wait())
    assert await asking == {"running": 1}


async def test_an_agent_that_is_asked_to_drain_finishes_what_runs(parts: Tunnel, tmp_path: Path) -> None:
    """As behind SIGTERM."""
    hold = asyncio.Event()

    async def held(incoming: Any) -> None:
        await hold.wait()
        incoming.whole_answer(200, b"ok")

    parts.upstream.script = held
    await parts.start_stub()
    agent = Process(tmp_path / "agent")
    settings = parts.agent_settings(control=agent.path)
    running = asyncio.get_running_loop().create_task(run_agent(settings, agent.stopping))
    await until(lambda: parts.stub.registry.links)
    client = await parts.connect()
    client.send(request("GET /api"))
    await until(lambda: parts.link.in_flight == 1)
    asking = asyncio.get_running_loop().create_task(agent.ask(command="drain"))
    await until(lambda: agent.reports)
    hold.set()
    assert (await client.answer()).body == b"ok"
    assert await asking == {"running": 0}
    await soon(running)
    assert agent.reports[0] == {"running": 1}


async def test_a_stub_that_is_asked_to_drain_ends(parts: Tunnel, tmp_path: Path) -> None:
    stub = Process(tmp_path / "stub")
    settings = StubSettings(
        listen=Address("127.0.0.1", 0),
        admin_listen=None,
        ca_dir=parts.certificates.ca_dir,
        control=stub.path,
    )
    running = asyncio.get_running_loop().create_task(serve(settings, stub.stopping))
    await until(stub.path.exists)
    assert await stub.ask(command="drain") == {"running": 0}
    await soon(running)


# Profiles ------------------------------------------------------------------------------------------


async def test_a_profile_shows_what_the_loop_does(process: Process) -> None:
    async with process.listening():
        asking = asyncio.get_running_loop().create_task(
            process.ask(command="profile", seconds=0.3, hertz=500)
        )
        while not asking.done():
            spend()
            await asyncio.sleep(0)
        found = await asking
    assert found["samples"] > 0
    assert any(stack.endswith(f"{__name__}:spend") for stack in found["stacks"])


def spend() -> None:
    until = time.thread_time() + 0.01
    while time.thread_time() < until:
        pass


async def test_one_profile_is_taken_at_a_time_and_the_process_end_ends_it(process: Process) -> None:
    async with process.listening():
        asking = asyncio.get_running_loop().create_task(process.ask(command="profile", seconds=60))
        await until(lambda: Sampler._running)
        with pytest.raises(CommandFailed, match="already"):
            await process.ask(command="profile")
    assert (await asking)["seconds"] < 60


async def test_a_profile_ends_when_whoever_asked_has_left(process: Process) -> None:
    async with process.listening():
        _, writer = await asyncio.open_unix_connection(process.path)
        writer.write(b'{"command": "profile", "seconds": 60}\n')
        await until(lambda: Sampler._running)
        writer.close()
        await until(lambda: not Sampler._running)


# Requests that make no sense -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"command": "restart"}\n', "unknown command 'restart'"),
        (b"{}\n", "unknown command None"),
        (b"[]\n", "JSON object"),
        (b"drain\n", "Expecting value"),
        (b"\xff\n", "utf-8"),
        (b"[" * 2000 + b"\n", "nested too deeply"),
        (b"x" * 5000, "too long"),
        (b'{"command": "profile", "seconds": 0}\n', "seconds must be"),
        (b'{"command": "profile", "seconds": 1e9}\n', "at most 600"),
        (b'{"command": "profile", "seconds": "10"}\n', "seconds must be"),
        (b'{"command": "profile", "hertz": true}\n', "hertz must be"),
    ],
)
async def test_a_request_that_makes_no_sense_is_answered_with_the_reason(
    process: Process, text: bytes, reason: str
) -> None:
    async with process.listening():
        assert reason in (await process.say(text))["error"]
        assert not process.stopping.is_set()


async def test_whoever_says_nothing_is_closed(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "REQUEST_SECONDS", 0.01)
    async with process.listening():
        assert "in time" in (await process.say(b""))["error"]


async def test_more_than_a_few_at_once_are_turned_away(process: Process) -> None:
    async with process.listening():
        others = [await asyncio.open_unix_connection(process.path) for _ in range(control.CONNECTIONS)]
        assert "too many" in (await process.say(b""))["error"]
        for _, writer in others:
            writer.close()


# The socket ----------------------------------------------------------------------------------------


async def test_only_the_own_user_can_connect_and_nothing_is_left_behind(process: Process) -> None:
    async with process.listening():
        mode = os.lstat(process.path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
    assert not process.path.exists()


async def test_without_a_path_nothing_is_listened_on(tmp_path: Path) -> None:
    async with control_socket(None, asyncio.Event(), lambda: 0):
        assert not list(tmp_path.iterdir())


async def test_what_a_killed_process_left_is_replaced(process: Process) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(process.path))
    async with process.listening():
        assert "unknown command" in (await process.say(b"{}\n"))["error"]


async def test_a_path_where_another_process_listens_is_refused(process: Process) -> None:
    async with process.listening():
        with pytest.raises(CommandFailed, match="another process listens"):
            async with process.listening():
                pass
        assert process.path.exists()


async def test_a_path_that_another_process_has_taken_over_is_left_to_it(process: Process) -> None:
    async with process.listening():
        process.path.unlink()
        process.path.write_text("theirs")
    assert process.path.read_text() == "theirs"


async def test_a_file_that_is_no_socket_is_not_touched(process: Process) -> None:
    process.path.write_text("keep")
    with pytest.raises(CommandFailed, match=r"--control .*no socket"):
        async with process.listening():
            pass
    assert process.path.read_text() == "keep"


@pytest.mark.parametrize("path", ["missing/control", "x" * 120])
async def test_a_path_that_cannot_be_used_is_one_clear_line(tmp_path: Path, path: str) -> None:
    with pytest.raises(CommandFailed, match="--control"):
        async with Process(tmp_path / path).listening():
            pass
