"""Running an asynchronous command until it ends or is told to."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from tunnel.kit import logs
from tunnel.kit.failures import UsageError
from tunnel.kit.process import EventLoop, ProcessSettings

_log = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

Main = Callable[[asyncio.Event], Awaitable[None]]
"""A command's work. It ends by itself soon after the event is set, and at once when it is cancelled."""


def run_service(settings: ProcessSettings, main: Main, on_hangup: Callable[[], None] | None = None) -> int:
    """Run `main` with its log lines on standard error; otherwise as `run_until_stopped`."""
    logs.start(settings)
    try:
        return run_until_stopped(main, settings.event_loop, on_hangup)
    finally:
        logs.stop()


def run_until_stopped(
    main: Main, event_loop: EventLoop = "auto", on_hangup: Callable[[], None] | None = None
) -> int:
    """Run `main` and return the exit code.

    The first SIGTERM or SIGINT sets the event given to `main`. The second cancels it, and the exit code is 128 and the
    signal's number as with a process that died of it. A third ends the process wherever it hangs.

    Args:
        on_hangup: called on the loop at each SIGHUP; None leaves that signal its usual meaning.

    Raises:
        UsageError: `event_loop` is not installed.
        Exception: whatever `main` raises.
    """
    with asyncio.Runner(loop_factory=_loop_factory(event_loop)) as runner:
        return runner.run(_until_stopped(main, on_hangup))


def _loop_factory(event_loop: EventLoop) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if event_loop == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if event_loop == "uvloop":
            raise UsageError("--event-loop: uvloop is not installed: use auto or asyncio") from None
        return None
    return uvloop.new_event_loop


class _Signals:
    """What the signals received so far ask for."""

    def __init__(self, stopping: asyncio.Event) -> None:
        self.forced: signal.Signals | None = None
        self._stopping = stopping
        self._main = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        for each in _SIGNALS:
            self._loop.add_signal_handler(each, self._received, each)

    def _received(self, number: signal.Signals) -> None:
        if not self._stopping.is_set():
            _log.info("stopping", extra={"signal": number.name})
            self._stopping.set()
            return
        _log.warning("stopping at once", extra={"signal": number.name})
        self.forced = number
        self.restore()
        if self._main is not None:
            self._main.cancel()

    def restore(self) -> None:
        """Give the signals back their usual meaning."""
        for each in _SIGNALS:
            self._loop.remove_signal_handler(each)


async def _until_stopped(main: Main, on_hangup: Callable[[], None] | None) -> int:
    stopping = asyncio.Event()
    signals = _Signals(stopping)
    loop = asyncio.get_running_loop()
    if on_hangup is not None:
        loop.add_signal_handler(signal.SIGHUP, on_hangup)
    try:
        await main(stopping)
    except asyncio.CancelledError:
        if signals.forced is None:
            raise
        return 128 + signals.forced
    finally:
        signals.restore()
        if on_hangup is not None:
            loop.remove_signal_handler(signal.SIGHUP)
    return 0
