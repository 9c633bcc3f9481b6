"""Child processes."""

import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from tunnel.cli.local import children as module
from tunnel.cli.local.children import Children
from tunnel.kit.failures import CommandFailed

FOREVER = "import signal; print('up', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile 1: signal.pause()"


def family(folder: Path) -> Children:
    return Children(folder, folder, os.environ)


async def start_and_wait(children: Children, name: str, program: str) -> module.Child:
    """Start a program and wait for the first line it prints."""
    line = asyncio.Event()
    child = await children.start(name, ["-c", program], lambda text: line.set())
    await line.wait()
    return child


async def test_leaving_the_context_ends_the_children_politely(tmp_path: Path) -> None:
    async with family(tmp_path) as children:
        child = await start_and_wait(children, "stub", FOREVER)
    assert child.process.returncode == -signal.SIGTERM


async def test_a_child_that_does_not_listen_is_killed_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.1)
    async with family(tmp_path) as children:
        child = await start_and_wait(children, "stub", DEAF)
    assert child.process.returncode == -signal.SIGKILL


async def test_a_cancellation_kills_without_patience(tmp_path: Path) -> None:
    async def run() -> None:
        async with family(tmp_path) as children:
            started.append(await start_and_wait(children, "stub", DEAF))
            up.set()
            await asyncio.Event().wait()

    started: list[module.Child] = []
    up = asyncio.Event()
    async with asyncio.timeout(module.GRACE_SECONDS), asyncio.TaskGroup() as group:
        task = group.create_task(run())
        await up.wait()
        task.cancel()
    assert started[0].process.returncode == -signal.SIGKILL


async def test_a_death_is_reported_with_the_end_of_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with family(tmp_path) as children:
        await children.start("agent-1", ["-c", "print(*range(30), sep='\\n'); raise SystemExit(3)"])
        with pytest.raises(
            CommandFailed, match=r"^agent-1 ended with exit code 3; its log is .*agent-1\.log$"
        ):
            await children.fail_on_death()
    assert capsys.readouterr().err.splitlines() == [f"  agent-1: {number}" for number in range(20, 30)]


async def test_a_death_by_signal_names_it(tmp_path: Path) -> None:
    async with family(tmp_path) as children:
        child = await children.start("stub", ["-c", "import os; os.kill(os.getpid(), 9)"])
        assert await children.wait_for_death() is child
    assert child.obituary().startswith("stub was ended by SIGKILL; ")


async def test_lines_go_to_the_listener_and_into_the_log_with_the_errors(tmp_path: Path) -> None:
    lines: list[str] = []
    async with family(tmp_path) as children:
        program = "import sys; print('one'); print('two'); print('bad', file=sys.stderr)"
        child = await children.start("simulator", ["-c", program], lines.append)
        await children.wait_for_death()
    assert lines == ["one", "two"]
    assert sorted(child.log.read_text().split()) == ["bad", "one", "two"]


async def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = """
        import asyncio, os, sys
        from pathlib import Path
        from tunnel.cli.local.children import Children

        async def run(folder):
            async with Children(folder, folder, os.environ) as children:
                child = await children.start("stub", ["-c", sys.argv[2]])
                print(child.process.pid, flush=True)
                await asyncio.Event().wait()

        asyncio.run(run(Path(sys.argv[1])))
    """
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(program), str(tmp_path), FOREVER),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(wait_for_end, pid)


def wait_for_end(pid: int) -> None:
    """Wait until a process that is no child of ours is gone, or has ended and waits for its new parent."""
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        os.sched_yield()
