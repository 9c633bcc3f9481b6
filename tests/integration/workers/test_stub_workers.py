"""A stub of several processes: who serves, and what becomes of the rest when one of them dies or stands still."""

import asyncio
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.client import Client, request
from tests.integration.election.stubs import TIMING, User, dial, try_once
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming
from tests.integration.waiting import soon
from tests.integration.workers.family import COMMAND, StubFamily, gone, served
from tests.scenarios.processes import running

# The processes are the command, on the loop that it takes; here is only the client.
pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])

TIMES = [f"--lease-duration={TIMING['lease_duration']}s", "--lease-renew-deadline=2s", "--lease-retry=400ms"]


@pytest.fixture
def admin_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


async def asked(parts: Tunnel, family: StubFamily) -> set[str]:
    """Ask over one new connection, and return which workers have answered requests so far."""
    answer = await try_once(parts, family.port)
    assert answer is not None
    assert answer.status == 200
    _, metrics = await family.ask_admin("/metrics")
    return set(re.findall(r'stub_requests_total{cluster="blue",code="200",worker="(\d)"}', metrics))


async def test_connections_are_spread_over_workers_that_all_have_a_session_with_the_agent(
    parts: Tunnel, admin_port: int
) -> None:
    async with served(parts, admin_port) as family:
        assert await family.workers_with_an_agent() == {0, 1}
        assert await family.ask_admin("/readyz") == (200, "ok\n")
        workers: set[str] = set()
        for _ in range(40):  # the kernel draws; it draws the same one so often once in 10^12 runs
            workers = await asked(parts, family)
            if workers == {"0", "1"}:
                break
        assert workers == {"0", "1"}
        _, metrics = await family.ask_admin("/metrics")
        assert re.findall("^cluster_tunnel_stub_active.*", metrics, re.MULTILINE) == [
            "cluster_tunnel_stub_active 1.0"
        ]


async def test_when_a_worker_is_killed_requests_go_on_and_it_is_replaced(
    parts: Tunnel, admin_port: int
) -> None:
    async with served(parts, admin_port) as family:
        user = User(parts, [family.port])
        killed = family.pids[0]
        os.kill(killed, signal.SIGKILL)
        await family.said("a worker has ended")
        for _ in range(5):
            assert (await user.ask("GET /try")).status == 200
            await user.close()
        await family.said("a worker is started", 3)
        await family.said("an agent connected", 3)
        assert family.pids[0] != killed
        assert await family.workers_with_an_agent() == {0, 1}
        _, metrics = await family.ask_admin("/metrics")
        assert 'cluster_tunnel_stub_worker_deaths_total{worker="0"} 1.0' in metrics


async def test_workers_whose_parent_is_stopped_answer_no_longer_than_the_lease_allows(
    parts: Tunnel, admin_port: int, tmp_path: Path
) -> None:
    async with served(parts, admin_port, f"--lease=file:{tmp_path}/lease", *TIMES) as family:
        await family.said("became the active stub")
        user = User(parts, [family.port])
        assert (await user.ask("GET /before")).status == 200
        family.signal(signal.SIGSTOP)
        clients = [await dial(parts, family.port) for _ in range(8)]
        await _until_refused(parts, family.port)
        for client in clients:
            client.send(request("GET /behind"))
            refusal = await client.answer()
            assert (refusal.status, refusal.values("retry-after")) == (503, ["1"])
            assert refusal.message.startswith("stub: this stub stands by")
            await client.close()
        family.signal(signal.SIGCONT)
        assert (await user.ask("GET /again")).status == 200
        await user.close()


async def _until_refused(parts: Tunnel, port: int) -> None:
    for _ in range(1000):
        answer = await try_once(parts, port)
        assert answer is not None
        if answer.status == 503:
            return
    raise AssertionError("never refused")


async def test_workers_whose_parent_is_killed_end_by_themselves(parts: Tunnel, admin_port: int) -> None:
    async with served(parts, admin_port) as family:
        family.signal(signal.SIGKILL)
        for pid in family.pids.values():
            await gone(pid)


async def test_sigterm_drains_all_workers(parts: Tunnel, admin_port: int) -> None:
    async with served(parts, admin_port) as family:
        watches = [await begin_watch(parts, family) for _ in range(4)]
        family.signal(signal.SIGTERM)
        await family.said("stopping")
        for client, incoming in watches:
            incoming.chunk(b"last")
            incoming.chunk(b"")
            incoming.answered.set()
            assert (await client.chunk(), await client.chunk()) == (b"last", b"")
            await client.close()
        assert await family.exit_code() == 0
        assert [line["exit_code"] for line in family.facts("a worker has ended")] == [0, 0]


async def test_a_second_sigterm_ends_all_workers_at_once(parts: Tunnel, admin_port: int) -> None:
    async with served(parts, admin_port) as family:
        client, _ = await begin_watch(parts, family)
        family.signal(signal.SIGTERM)
        await family.said("stopping")
        family.signal(signal.SIGTERM)
        assert await soon(family.exit_code(), 20) == 128 + signal.SIGTERM
        for pid in family.pids.values():
            await gone(pid)
        await client.close()


async def begin_watch(parts: Tunnel, family: StubFamily) -> tuple[Client, Incoming]:
    """Have an answer without an end under way."""

    async def endless(incoming: Incoming) -> None:
        if incoming.target.startswith(b"/watch"):
            incoming.head(200, "Transfer-Encoding: chunked")
            await incoming.answered.wait()
        else:
            incoming.whole_answer(200, b"ok")

    parts.upstream.script = endless
    target = f"/watch{len(parts.upstream.requests)}"
    client = await dial(parts, family.port)
    client.send(request(f"GET {target}"))
    await client.head()
    return client, next(each for each in parts.upstream.requests if each.target.decode() == target)


async def test_what_no_worker_can_use_is_one_line_and_no_process_stays(tmp_path: Path) -> None:
    flags = ["--listen=127.0.0.1:0", "--admin-listen=off", f"--ca-dir={tmp_path}"]
    with running([COMMAND, "stub", *flags, "--workers=2"]) as process:
        assert await asyncio.to_thread(process.wait, 40) == 1
        (line,) = [line.text for line in process.errors if line.text.startswith("cluster-tunnel:")]
        assert str(tmp_path) in line
        for pid in StubFamily(process).pids.values():
            await gone(pid)


async def test_a_port_that_another_stub_has_is_refused_although_workers_share_theirs(parts: Tunnel) -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
        flags = [f"--listen=127.0.0.1:{taken.getsockname()[1]}", f"--ca-dir={parts.certificates.ca_dir}"]
        with running([COMMAND, "stub", *flags, "--workers=2"]) as process:
            assert await asyncio.to_thread(process.wait, 40) == 1
            assert "Address already in use" in process.stderr
