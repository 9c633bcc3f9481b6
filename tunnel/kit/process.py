"""Settings that every long-running command has."""

from dataclasses import dataclass
from typing import Literal

from tunnel.kit.logs import LogSettings
from tunnel.kit.settings import setting

EventLoop = Literal["auto", "uvloop", "asyncio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings(LogSettings):
    """How a command runs and logs."""

    event_loop: EventLoop = setting(
        choices=("auto", "uvloop", "asyncio"),
        default="auto",
        help="Which event loop to run on; auto is uvloop where it is installed.",
    )
