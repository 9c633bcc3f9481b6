"""A stub or agent of several processes, as the command runs it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.integration.election.stubs import serving_agent
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import until
from tests.scenarios.processes import Running, running

COMMAND: Final = Path(sys.executable).with_name("cluster-tunnel")
WORKERS: Final = 2


class Family:
    """The processes of one command.

    Args:
        process: the parent's.
    """

    def __init__(self, process: Running) -> None:
        self.process = process

    def facts(self, message: str) -> list[dict[str, Any]]:
        """The log lines of this message so far."""
        lines = (json.loads(line.text) for line in list(self.process.errors) if line.text.startswith("{"))
        return [line for line in lines if line["message"] == message]

    async def said(self, message: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until it has been logged so often."""
        await asyncio.to_thread(
            self.process.wait_for, lambda text: f'"{message}"' in text, count=count, seconds=40
        )
        return self.facts(message)

    @property
    def pids(self) -> dict[int, int]:
        """The present process of each worker."""
        return {line["number"]: line["pid"] for line in self.facts("a worker is started")}

    def signal(self, number: int) -> None:
        """Send one to the parent."""
        self.process.process.send_signal(number)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait, 40)


class StubFamily(Family):
    """A stub with workers, where it serves."""

    port = 0
    admin_port = 0

    async def ask_admin(self, path: str) -> tuple[int, str]:
        """What the parent answers to operators."""
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        async with aiohttp.ClientSession() as client, client.get(url) as answer:
            return answer.status, await answer.text()

    async def workers_with_an_agent(self) -> set[int]:
        _, text = await self.ask_admin("/clusters")
        return {session["worker"] for session in json.loads(text).get("blue", [])}


@contextlib.asynccontextmanager
async def stub_family(parts: Tunnel, admin_port: int, *flags: str) -> AsyncIterator[StubFamily]:
    """A stub with workers for as long as the block lasts."""
    own = ["--ca-dir", str(parts.certificates.ca_dir), "--default-cluster=blue", f"--workers={WORKERS}"]
    command = [
        COMMAND,
        "stub",
        "--listen=127.0.0.1:0",
        f"--admin-listen=127.0.0.1:{admin_port}",
        *own,
        *flags,
    ]
    with running(command) as process:
        family = StubFamily(process)
        try:
            (line,) = await family.said("all workers serve")
            family.port, family.admin_port = int(line["address"].rpartition(":")[2]), admin_port
            yield family
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


@contextlib.asynccontextmanager
async def served(parts: Tunnel, admin_port: int, *flags: str) -> AsyncIterator[StubFamily]:
    """The same, in front of an agent that all workers can ask."""
    async with stub_family(parts, admin_port, *flags) as family, serving_agent(parts, [family.port]):
        await family.said("an agent connected", WORKERS)
        yield family


async def gone(pid: int) -> None:
    """Wait until there is no such process."""

    def is_gone() -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True

    await until(is_gone, 20)
