"""Ports for processes that have to be told theirs before they start."""

import random
import socket
from typing import Final

BELOW_EPHEMERAL: Final = range(20_000, 30_000)
"""Linux takes the local ports of outgoing connections from 32768 on, so one of those that is free now may be taken in a moment. A cluster's
node ports begin at 30000."""


def free_port() -> int:
    """Return a port of the loopback that nobody listens on, chosen at random, so that tests side by side do not meet."""
    while True:
        port = random.choice(BELOW_EPHEMERAL)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue  # taken
