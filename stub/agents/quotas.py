"""How much the agents of one cluster may have open at once."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AgentLimits:
    """What the operator allows the agents of one cluster together, so that they leave descriptors and memory to others'; 0 is no
    limit.

    Attributes:
        sessions: open at once.
        channels: open at once, idle ones and pipes included.
    """

    sessions: int = 4096
    channels: int = 16384
