"""A refusal as kubectl understands it: a Kubernetes Status, and a Warning for where kubectl hides the Status."""

import json
import re
from typing import Any, Final

from tunnel.core.errors import MethodNotAllowed, Refusal
from tunnel.core.http.message import Field, ResponseHead

REQUEST_ID: Final = b"X-Cluster-Tunnel-Request-Id"
"""Names the request in every log of the tunnel; `Audit-Id` stays the cluster's own."""

_WARNING_CHARACTERS: Final = 1024
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_NOT_TOKEN: Final = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ALLOW: Final = (b"Allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")


def refusal_response(refusal: Refusal, *, hop: str, request_id: str) -> tuple[ResponseHead, bytes]:
    """The response that tells a client why its request was not carried.

    The head holds no framing and no Connection: the writer adds `body.response_framing(len(body))`, sends no body to a
    HEAD, and closes where `refusal.close` says so.

    Args:
        refusal: what is wrong.
        hop: who refuses, `stub` or `agent`; it opens the message.
        request_id: stands in a field of its own, and in the Status message since kubectl shows no fields.
    """
    fields: list[Field] = [
        (b"Content-Type", b"application/json"),
        (b"Cache-Control", b"no-cache, private"),
        (b"Warning", warning_value(hop, f"{hop}: {refusal.message}")),
        (REQUEST_ID, _NOT_TOKEN.sub("-", request_id).encode()),
    ]
    if refusal.retry_after is not None:
        fields.append((b"Retry-After", b"%d" % refusal.retry_after))
    if isinstance(refusal, MethodNotAllowed):
        fields.append(_ALLOW)  # RFC 9110 15.5.6 demands it
    return ResponseHead(refusal.code, fields), status_body(refusal, hop=hop, request_id=request_id)


def status_body(refusal: Refusal, *, hop: str, request_id: str) -> bytes:
    """The Kubernetes Status of a refusal, as JSON with a newline behind it."""
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"{hop}: {refusal.message} (request {request_id})",
    }
    if refusal.reason:
        status["reason"] = refusal.reason
    if refusal.retry_after is not None:
        status["details"] = {"retryAfterSeconds": refusal.retry_after}
    status["code"] = refusal.code
    return json.dumps(status, separators=(",", ":")).encode() + b"\n"


def warning_value(hop: str, text: str) -> bytes:
    """The value of a `Warning` field that client-go can parse and kubectl prints.

    client-go drops a warning with a control character or bytes that are not UTF-8, and prints equal texts once: so
    they are replaced here, and the text should hold nothing that differs from request to request.

    Args:
        hop: the warn-agent.
        text: cut behind 1024 characters.
    """
    clean = _CONTROL.sub(" ", text[:_WARNING_CHARACTERS]).replace("\\", "\\\\").replace('"', '\\"')
    agent = _NOT_TOKEN.sub("-", hop) or "-"
    return f'299 {agent} "{clean}"'.encode("utf-8", "replace")
