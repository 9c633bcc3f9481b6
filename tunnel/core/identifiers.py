"""Names of things that travel on the wire, as types of their own."""

import re
from typing import Final, NewType

ClusterId = NewType("ClusterId", str)
"""A cluster, `[a-z0-9-]{1,63}`; taken only from a verified agent certificate or the stub's own configuration."""

RequestId = NewType("RequestId", int)
"""A request within one session, counted up by the stub from 1 and never used again in that session."""

InstanceId = NewType("InstanceId", str)
"""One stub process's life: random, made at its start."""

_CLUSTER: Final = re.compile(r"[a-z0-9-]{1,63}\Z")


def audit_text(audit: bytes) -> str:
    """Return the 16 bytes that name a request as every log and the apiserver's Audit-ID show them: a UUID."""
    text = audit.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_cluster_id(text: str) -> ClusterId:
    """Return `text` as a cluster id.

    Raises:
        ValueError: it is not one to 63 of `a-z`, `0-9` and `-`; the message names the rule.
    """
    if not _CLUSTER.match(text):
        raise ValueError(f"{text!r} is not a cluster id: one to 63 of a-z, 0-9 and '-'")
    return ClusterId(text)
