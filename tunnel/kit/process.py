"""Settings that every long-running command has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunnel.kit import values
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
    workers: int = setting(
        parse=values.count(minimum=1, maximum=64),
        default=1,
        help="How many processes serve, each on a core of its own; one more holds them together (docs/performance.md).",
    )
    control: Path | None = setting(
        parse=values.optional(values.path),
        default=None,
        help="A unix socket, made with mode 0600, by which the user that runs this process can ask it for a profile or a "
        "drain ('cluster-tunnel profile', 'cluster-tunnel drain').",
    )
