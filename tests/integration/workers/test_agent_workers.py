"""An agent of several processes, as the command runs it."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.election.stubs import try_once
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.waiting import until
from tests.integration.workers.family import COMMAND, Family, gone
from tests.scenarios.processes import running

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])


@pytest.fixture
async def agent(parts: Tunnel) -> AsyncIterator[Family]:
    """An agent of two workers, both of which the stub can ask."""
    await parts.start_stub()
    own = parts.agent_settings()
    files = {"--cert": own.cert, "--key": own.key, "--ca": own.ca, "--upstream-ca": own.upstream_ca}
    flags = [f"{flag}={path}" for flag, path in files.items()]
    flags += [
        f"--stub=localhost:{parts.port}",
        f"--upstream={own.upstream}",
        f"--token-file={own.token_file}",
    ]
    with running([COMMAND, "agent", *flags, "--workers=2", "--facts-interval=1m"]) as process:
        await until(lambda: len(parts.stub.registry.links) == 2, 40)
        yield Family(process)


async def test_each_worker_of_an_agent_has_a_session_of_its_own_and_answers(
    parts: Tunnel, agent: Family
) -> None:
    asked = set()
    for _ in range(100):  # the stub draws
        answer = await try_once(parts, parts.port)
        assert answer is not None
        assert answer.status == 200
        asked |= {link for link in parts.stub.registry.links if link._last_id}
        if len(asked) == 2:
            break
    assert len(asked) == 2
    listed = [each for each in parts.upstream.requests if each.target.startswith(b"/api/v1/nodes")]
    assert len(listed) <= 1, "one worker looks at the cluster for all"


async def test_sigterm_drains_all_workers_of_an_agent(parts: Tunnel, agent: Family) -> None:
    agent.signal(signal.SIGTERM)
    assert await agent.exit_code() == 0
    for pid in agent.pids.values():
        await gone(pid)
    assert len(agent.facts("stopped")) == 2


async def test_sighup_is_passed_on_to_all_workers(parts: Tunnel, agent: Family, tmp_path: Path) -> None:
    await agent.said("all workers serve")
    agent.signal(signal.SIGHUP)
    lines = await agent.said("dialling at once", 2)
    assert {line["worker"] for line in lines} == {0, 1}
