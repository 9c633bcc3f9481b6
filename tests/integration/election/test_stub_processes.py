"""Two real stub processes: what signals do to the active one, and how the other follows."""

import asyncio
import contextlib
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.client import Client, request
from tests.integration.election.stubs import TIMING, carried, dial, first_answer, serving_agent, try_once
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming
from tests.integration.waiting import soon
from tests.kubesim.resources import resource
from tests.kubesim.simulator import KubeSim
from tests.kubesim.store import Object
from tests.scenarios.processes import Running, running

# The processes are the command, on the loop that it takes; here is only the client.
# It waits for leases to end: `make faults` runs it.
pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_factories=["uvloop"])]

COMMAND = Path(sys.executable).with_name("cluster-tunnel")
LEASE = resource("leases.coordination.k8s.io")
TIMES = [f"--lease-duration={TIMING['lease_duration']}s", "--lease-renew-deadline=2s", "--lease-retry=400ms"]
TAKE_OVER_SECONDS = TIMING["lease_duration"] + 1.0


@dataclass
class StubProcess:
    """One stub, and where it serves."""

    process: Running
    port: int

    def signal(self, number: int) -> None:
        self.process.process.send_signal(number)

    async def exit_code(self) -> int:
        return await asyncio.to_thread(self.process.wait)


@contextlib.asynccontextmanager
async def stub_process(parts: Tunnel, *flags: str) -> AsyncIterator[StubProcess]:
    """A stub for as long as the block lasts."""
    common = ["--ca-dir", str(parts.certificates.ca_dir), "--default-cluster=blue", "--admin-listen=off"]
    command = [COMMAND, "stub", "--listen=127.0.0.1:0", *common, *TIMES, *flags]
    with running(command) as process:
        line = await asyncio.to_thread(process.wait_for_text, '"serving"')
        _, _, port = json.loads(line.text)["address"].rpartition(":")
        try:
            yield StubProcess(process, int(port))
        finally:
            process.process.kill()


@contextlib.asynccontextmanager
async def pair(parts: Tunnel, *flags: str) -> AsyncIterator[tuple[StubProcess, StubProcess]]:
    """The active stub and one that stands by, both in front of the same agent."""
    async with stub_process(parts, *flags) as one, stub_process(parts, *flags) as two:
        ports = [one.port, two.port]
        async with serving_agent(parts, ports):
            active = await first_answer(parts, ports, 10)
            await asyncio.to_thread(one.process.wait_for_text, "an agent connected")
            await asyncio.to_thread(two.process.wait_for_text, "an agent connected")
            yield (one, two) if active == one.port else (two, one)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[KubeSim]:
    async with KubeSim.start(tmp_path / "cluster", samples=False) as sim:
        yield sim


def lease_flags(sim: KubeSim) -> list[str]:
    return ["--lease=kubernetes:default/stub", f"--lease-kubeconfig={sim.admin_kubeconfig}"]


def lease_of(sim: KubeSim) -> Object:
    specification: Object = sim.store.get(LEASE, "default", "stub")["spec"]
    return specification


# Crashes -----------------------------------------------------------------------------------------


async def test_a_killed_stub_is_followed_within_its_lease_and_a_second(
    parts: Tunnel, cluster: KubeSim
) -> None:
    async with pair(parts, *lease_flags(cluster)) as (active, standby):
        began = time.monotonic()
        active.signal(signal.SIGKILL)
        await first_answer(parts, [standby.port], TAKE_OVER_SECONDS + 5)
        assert time.monotonic() - began < TAKE_OVER_SECONDS
        assert lease_of(cluster)["leaseTransitions"] == 2


async def test_a_killed_stub_of_a_file_lease_is_followed_without_waiting_for_the_lease(
    parts: Tunnel, tmp_path: Path
) -> None:
    async with pair(parts, f"--lease=file:{tmp_path}/lease") as (active, standby):
        began = time.monotonic()
        active.signal(signal.SIGKILL)
        await first_answer(parts, [standby.port], 10)
        assert time.monotonic() - began < 1.0


async def test_a_stub_that_was_stopped_past_its_deadline_answers_503_when_it_goes_on(
    parts: Tunnel, cluster: KubeSim
) -> None:
    """The request waits in its socket, before the election has had a chance to look at the clock."""
    async with pair(parts, *lease_flags(cluster)) as (old, standby):
        client = await dial(parts, old.port)
        assert (await client.ask("GET /before")).status == 200
        old.signal(signal.SIGSTOP)
        await first_answer(parts, [standby.port], TAKE_OVER_SECONDS + 5)
        client.send(request("GET /behind"))
        old.signal(signal.SIGCONT)
        refusal = await client.answer()
        assert (refusal.status, refusal.values("retry-after")) == (503, ["1"])
        assert refusal.message.startswith("stub: this stub stands by")
        await client.close()
        await asyncio.to_thread(old.process.wait_for_text, "is not the active stub any more")
        assert carried(parts, "/b") == ["/before"]
        answer = await try_once(parts, standby.port)
        assert answer is not None
        assert answer.status == 200


# Signals -----------------------------------------------------------------------------------------


async def test_sigterm_releases_the_lease_at_once_and_waits_for_what_runs(
    parts: Tunnel, cluster: KubeSim
) -> None:
    async with pair(parts, *lease_flags(cluster), "--drain-delay=0s") as (old, standby):
        client, incoming = await begin_watch(parts, old)
        began = time.monotonic()
        old.signal(signal.SIGTERM)
        await first_answer(parts, [standby.port], 5)
        assert time.monotonic() - began < 1.0
        assert old.process.process.poll() is None, "the watch is still running"
        incoming.chunk(b"")
        incoming.answered.set()
        assert await client.chunk() == b""
        await client.close()
        assert await old.exit_code() == 0
        assert "released the lease" in old.process.stderr


async def test_a_second_sigterm_ends_it_at_once(parts: Tunnel, cluster: KubeSim) -> None:
    async with pair(parts, *lease_flags(cluster)) as (old, _):
        client, _ = await begin_watch(parts, old)
        old.signal(signal.SIGTERM)
        await asyncio.to_thread(old.process.wait_for_text, '"stopping"')
        old.signal(signal.SIGTERM)
        assert await soon(old.exit_code(), 3) == 128 + signal.SIGTERM
        await client.close()


async def begin_watch(parts: Tunnel, stub: StubProcess) -> tuple[Client, Incoming]:
    """Have an answer without an end under way."""

    async def endless(incoming: Incoming) -> None:
        if incoming.target == b"/watch":
            incoming.head(200, "Transfer-Encoding: chunked")
            await incoming.answered.wait()
        else:
            incoming.whole_answer(200, b"ok")

    parts.upstream.script = endless
    client = await dial(parts, stub.port)
    client.send(request("GET /watch"))
    await client.head()
    return client, next(incoming for incoming in parts.upstream.requests if incoming.target == b"/watch")
