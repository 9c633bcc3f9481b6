"""Running until told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from tunnel.cli.runner import run_until_stopped
from tunnel.kit.failures import UsageError
from tunnel.kit.process import EventLoop

LOOPS: tuple[EventLoop, ...] = ("asyncio", "uvloop")


def signalled(number: int) -> Callable[[asyncio.Event], Awaitable[None]]:
    """Return work that sends itself a signal and ends once it is told to."""

    async def work(stopping: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await stopping.wait()

    return work


@pytest.fixture(scope="module", autouse=True)
def libuv_has_its_pipe() -> None:
    """libuv opens one pipe for signals, with the first handler, and keeps it until the process ends."""
    run_until_stopped(signalled(signal.SIGTERM), "uvloop")


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_to_stop_and_the_exit_code_is_0(loop: EventLoop, number: int) -> None:
    assert run_until_stopped(signalled(number), loop) == 0


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_second_signal_ends_it_at_once(loop: EventLoop, number: int, code: int) -> None:
    async def deaf(stopping: asyncio.Event) -> None:
        os.kill(os.getpid(), number)
        await stopping.wait()
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()

    assert run_until_stopped(deaf, loop) == code


@pytest.mark.parametrize("loop", LOOPS)
def test_a_hangup_is_told_and_stops_nothing(loop: EventLoop) -> None:
    told = asyncio.Event()

    async def work(stopping: asyncio.Event) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await told.wait()
            told.clear()
        assert not stopping.is_set()

    assert run_until_stopped(work, loop, on_hangup=told.set) == 0


def test_signals_have_their_usual_meaning_afterwards() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    run_until_stopped(signalled(signal.SIGTERM), "asyncio", on_hangup=lambda: None)
    assert [signal.getsignal(number) for number in numbers] == before


def test_work_that_ends_by_itself_is_code_0() -> None:
    async def work(stopping: asyncio.Event) -> None:
        assert not stopping.is_set()

    assert run_until_stopped(work) == 0


def test_an_error_of_the_work_is_raised() -> None:
    async def work(stopping: asyncio.Event) -> None:
        raise OSError(98, "in use")

    with pytest.raises(OSError, match="in use"):
        run_until_stopped(work)


@pytest.mark.parametrize(
    ("loop", "module"), [("asyncio", "asyncio"), ("uvloop", "uvloop"), ("auto", "uvloop")]
)
def test_the_loop_is_the_one_that_was_asked_for(loop: EventLoop, module: str) -> None:
    async def work(stopping: asyncio.Event) -> None:
        assert type(asyncio.get_running_loop()).__module__.startswith(module)

    run_until_stopped(work, loop)


def test_a_loop_that_is_not_installed_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(UsageError, match="--event-loop: uvloop is not installed"):
        run_until_stopped(signalled(signal.SIGTERM), "uvloop")
    assert run_until_stopped(signalled(signal.SIGTERM), "auto") == 0
