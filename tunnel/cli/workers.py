"""The process of one worker of a stub or agent (`--workers`)."""

import asyncio
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from tunnel.cli.runner import Main, run_until_stopped
from tunnel.kit import logs
from tunnel.kit.failures import Failure
from tunnel.kit.process import ProcessSettings

if TYPE_CHECKING:
    from agent.settings import AgentSettings
    from stub.workers.orders import Orders
    from tunnel.aio.workers.seat import Seat

_log = logging.getLogger(__name__)


def run_stub_worker(orders: "Orders", seat: "Seat") -> NoReturn:
    """Run a stub's worker to its end."""
    from stub.workers.worker import serve_worker

    _run(partial(serve_worker, orders, seat), orders.settings, seat)


def run_agent_worker(settings: "AgentSettings", seat: "Seat") -> NoReturn:
    """Run an agent's worker to its end."""
    from agent.workers import serve_worker

    _run(partial(serve_worker, settings, seat), settings, seat)


def _run(main: Main, settings: ProcessSettings, seat: "Seat") -> NoReturn:
    logs.start(settings, worker=seat.number)
    try:
        sys.exit(run_until_stopped(main, settings.event_loop))
    except asyncio.CancelledError:
        sys.exit(0)  # the parent said: at once
    except Failure:
        sys.exit(1)  # the parent has been told, and says so
    except Exception:
        _log.exception("this is a bug: a worker ends")
        sys.exit(1)
    finally:
        logs.stop()
