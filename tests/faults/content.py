"""What the upstream answers and what its users expect: both make it from the target, so that every byte can be checked."""

import hashlib
import json
import random
from functools import lru_cache
from typing import Any, Final

NAMESPACE: Final = "/api/v1/namespaces/default"
EVENTS: Final = f"{NAMESPACE}/events?watch=true&resourceVersion="
LOG: Final = f"{NAMESPACE}/pods/web/log?follow=true&sinceTime="
EXEC: Final = f"{NAMESPACE}/pods/web/exec?command=cat&stdin=true&stdout=true&command="

TICK_SECONDS: Final = 0.1
"""Between two events of a watch, and two lines of a log."""


def object_target(name: str, size: int, delay_milliseconds: int = 0) -> str:
    """Return where an object of `size` bytes is got, after a while."""
    return f"{NAMESPACE}/configmaps/{name}?bytes={size}&delay={delay_milliseconds}"


def collection_target(name: str, delay_milliseconds: int = 0) -> str:
    """Return where an object is created; the answer comes after a while."""
    return f"{NAMESPACE}/configmaps?fieldManager={name}&delay={delay_milliseconds}"


@lru_cache(maxsize=64)
def body_of(target: str, size: int) -> bytes:
    """Return the body of a GET: the same for the same target, and different for any two."""
    return random.Random(target).randbytes(size)


def new_object(name: str, size: int) -> bytes:
    """Return an object of about `size` bytes to create."""
    filling = random.Random(name).randbytes(size // 2).hex()
    return json.dumps({"metadata": {"name": name}, "data": {"filling": filling}}).encode()


def created(body: bytes) -> bytes:
    """Return the answer to a POST of `body`."""
    return json.dumps({"kind": "ConfigMap", "sha256": hashlib.sha256(body).hexdigest()}).encode()


def event(number: int) -> bytes:
    """Return one line of a watch."""
    found: dict[str, Any] = {"type": "ADDED", "object": {"metadata": {"resourceVersion": str(number)}}}
    return json.dumps(found).encode() + b"\n"


def log_line(number: int) -> bytes:
    """Return one line of a log."""
    return b"%08d %s\n" % (number, hashlib.sha256(b"%d" % number).hexdigest().encode())
