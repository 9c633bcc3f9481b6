"""What an agent knows of its cluster by itself; its reports and metrics are made from this."""

from dataclasses import dataclass

from tunnel.core.wire.control import Capacity


@dataclass(slots=True)
class Vitals:
    """See the module.

    Attributes:
        problem: why the apiserver cannot be used, as the last probe found; None where it can.
        milliseconds: how long the apiserver's last answer to a probe took.
        version: the apiserver's, or empty.
        nodes: how many there are, or 0 where that is not known.
        resources: what they have; empty where that is not known.
    """

    problem: str | None = None
    milliseconds: float = 0.0
    version: str = ""
    nodes: int = 0
    resources: tuple[Capacity, ...] = ()
