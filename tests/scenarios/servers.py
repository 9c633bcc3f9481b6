"""Small servers that run in a pod, for what goes through port-forward.

A real pod has busybox; a simulated one has this machine's Python and shares its ports, which are therefore taken from
those that are free.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.scenarios.kubectl import Kubectl

PYTHON = os.path.realpath(sys.executable)
"""Not the environment's link to it: a checkout may lie below /tmp, where the simulator's pods see a folder of their own."""


@dataclass(frozen=True)
class Server:
    """A server in a pod: its command and the port it listens on."""

    command: tuple[str, ...]
    port: int


def file_server(kubectl: Kubectl, size_bytes: int) -> Server:
    """Serves over HTTP `/hello` (the word hello) and `/large` (that many zero bytes)."""
    port = free_port()
    folder = f"/tmp/www{kubectl.suffix}"
    make = f"mkdir -p {folder} && cd {folder} && echo hello > hello && dd if=/dev/zero of=large bs=1000000 count={size_bytes // 1_000_000}"
    serve = f"exec busybox httpd -f -p {port} -h {folder}"
    if kubectl.access.simulated:
        serve = f"exec {PYTHON} -m http.server --bind 127.0.0.1 {port}"
    return Server(("sh", "-c", f"{make} && {serve}"), port)


def closing_server(kubectl: Kubectl, size_bytes: int) -> Server:
    """Sends that many zero bytes to who connects, then ends its side while it still reads."""
    port = free_port()
    if kubectl.access.simulated:
        # As text: a simulated pod need not see the folder of this file.
        source = Path(__file__).with_name("half_closing.py").read_text()
        return Server((PYTHON, "-c", source, str(port), str(size_bytes)), port)
    send = f"dd if=/dev/zero bs=1000 count={size_bytes // 1000} 2>/dev/null"
    return Server(("sh", "-c", f"while true; do {send} | busybox nc -l -p {port} > /dev/null; done"), port)
