"""Readiness probes: exec, HTTP GET and TCP, as far as a pod's network reaches."""

import asyncio
from typing import Any

from tests.kubesim.containers import CommandNotStarted, ContainerRefusal, PodName
from tests.kubesim.runtime import Runtime
from tests.kubesim.store import Object


async def passes(probe: Object, pod: PodName, container: Object, runtime: Runtime) -> bool:
    """Return whether the container passes its probe now, within the probe's own time-out."""
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            return await _ask(probe, pod, container, runtime)
    except (OSError, TimeoutError, ContainerRefusal, CommandNotStarted):
        return False


async def _ask(probe: Object, pod: PodName, container: Object, runtime: Runtime) -> bool:
    if "exec" in probe:
        command = probe["exec"]["command"]
        process = await runtime.exec(pod, container["name"], command, stdin=False, tty=False)
        try:
            return await process.wait() == 0
        finally:
            process.kill()
    action = probe.get("httpGet") or probe.get("tcpSocket") or {}
    reader, writer = await runtime.dial(pod, _port(action.get("port"), container))
    try:
        if "tcpSocket" in probe:
            return True
        head = f"GET {action.get('path', '/')} HTTP/1.1\r\nHost: {pod.name}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        parts = (await reader.readline()).split()
        return len(parts) > 1 and b"200" <= parts[1] < b"400"
    finally:
        writer.close()


def _port(port: Any, container: Object) -> int:
    """Return a probe's port, which may be a name of one the container declares."""
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    return int(port)
