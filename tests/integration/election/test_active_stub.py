"""Three stubs of one lease in this process: one answers, the others stand by and follow, and agents obey the newest epoch."""

import asyncio
import time
from pathlib import Path

from tests.integration.client import request
from tests.integration.election.stubs import User, carried, dial, first_answer, three, try_once
from tests.integration.tunnel_fixture import Tunnel
from tests.integration.upstream import Incoming
from tests.integration.waiting import soon, until


async def test_one_of_three_answers_and_the_others_say_that_they_stand_by(
    parts: Tunnel, tmp_path: Path
) -> None:
    async with three(parts, tmp_path / "lease") as (active, standbys):
        answer = await try_once(parts, active.port)
        assert answer is not None
        assert answer.body == b"ok"
        for member in standbys:
            refusal = await try_once(parts, member.port)
            assert refusal is not None
            assert (refusal.status, refusal.values("retry-after")) == (503, ["1"])
            assert refusal.values("connection") == ["close"]
            assert refusal.message.startswith("stub: this stub stands by")
        assert carried(parts, "/try") == ["/try"]


async def test_a_hand_over_loses_no_request_and_takes_less_than_a_second(
    parts: Tunnel, tmp_path: Path
) -> None:
    """Writes of unique names, each counted once at the apiserver; the refused ones are tried again as client-go does."""
    async with three(parts, tmp_path / "lease") as (active, standbys):
        connected = [list(member.stub.registry.links) for member in standbys]
        ports = [active.port, *(member.port for member in standbys)]
        users = [User(parts, ports) for _ in range(4)]
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            writing = [
                group.create_task(write_until(user, f"user-{n}", over)) for n, user in enumerate(users)
            ]
            await until(lambda: len(carried(parts, "/user")) > 20)
            began = time.monotonic()
            draining = group.create_task(active.stub.drain(10))
            assert await first_answer(parts, ports[1:], 5) != active.port
            gap = time.monotonic() - began
            await until(lambda: any(user.refusals for user in users))
            await draining
            over.set()
        assert gap < 1.0
        assert [list(member.stub.registry.links) for member in standbys] == connected, "no agent dialled anew"
        written = [name for task in writing for name in task.result()]
        assert len(written) > 20
        assert sorted(carried(parts, "/user")) == sorted(written)


async def write_until(user: User, name: str, over: asyncio.Event) -> list[str]:
    """Write one thing after the other, and once more behind the event; return what was answered."""
    written: list[str] = []
    last = False
    while not last:
        last = over.is_set()
        target = f"/{name}-{len(written)}"
        answer = await user.ask(f"POST {target}", body=b"{}")
        assert answer.status == 200, answer.body
        written.append(target)
    await user.close()
    return written


async def test_what_runs_on_the_old_stub_goes_on_behind_the_hand_over(parts: Tunnel, tmp_path: Path) -> None:
    async with three(parts, tmp_path / "lease") as (active, standbys):
        parts.upstream.script = watchable
        watch = await dial(parts, active.port)
        watch.send(request("GET /watch"))
        while (incoming := await parts.upstream.next_request()).target != b"/watch":
            pass
        await watch.head()
        draining = asyncio.get_running_loop().create_task(active.stub.drain(10))
        await soon(first_answer(parts, [member.port for member in standbys], 5))
        incoming.chunk(b"still here")
        assert await watch.chunk() == b"still here"
        incoming.chunk(b"")
        assert await watch.chunk() == b""
        await watch.close()
        incoming.answered.set()
        await soon(draining)


async def watchable(incoming: Incoming) -> None:
    """An answer without an end for the watch, which is the test's, and a short one for all else."""
    if incoming.target == b"/watch":
        incoming.head(200, "Transfer-Encoding: chunked")
        await incoming.answered.wait()
    else:
        incoming.whole_answer(200, b"ok")


async def test_agents_refuse_a_stub_that_goes_on_in_an_older_epoch(parts: Tunnel, tmp_path: Path) -> None:
    """Its clock may have stood still between the look at its deadline and the request: that the lease cannot prevent."""
    async with three(parts, tmp_path / "lease") as (old, standbys):
        await old.leadership.hand_over()
        await until(lambda: any(member.leadership.active for member in standbys))
        await first_answer(parts, [member.port for member in standbys], 5)
        before = len(carried(parts, "/try"))
        old.stub.office.leadership = None  # it believes that it still holds the lease
        refusal = await try_once(parts, old.port)
        assert refusal is not None
        assert refusal.status == 503
        assert refusal.message.startswith("agent: this stub is no longer the active one")
        assert len(carried(parts, "/try")) == before


async def test_a_stub_whose_store_fails_ceases_to_answer_by_its_own_clock(
    parts: Tunnel, tmp_path: Path
) -> None:
    async with three(parts, tmp_path / "lease") as (active, _):
        (tmp_path / "lease").write_text("{")
        deadline = active.leadership.elector.deadline
        assert deadline is not None
        await until(lambda: not active.leadership.active)
        refusal = await try_once(parts, active.port)
        assert refusal is not None
        assert refusal.status == 503
        assert active.leadership.losses == 1
