"""Heads of answers: the 101 of either transport, and the refusals with the words of a real apiserver (v1.34)."""

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

from websockets.utils import accept_key

from tests.kubesim.containers import ContainerRefusal
from tests.kubesim.streaming.faults import StreamingFaults
from tests.kubesim.streaming.request import UpgradeRequest

SPDY: Final = "SPDY/3.1"
VERSION_HEADER: Final = "X-Stream-Protocol-Version"

Fields = Sequence[tuple[str, str]]


class PlainRefusal(Exception):
    """A refusal that is text and no Status, as kubelet and the WebSocket library give it."""

    def __init__(self, code: int, text: str, fields: Fields = ()) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.fields = fields


def negotiate_spdy(request: UpgradeRequest, accepted: Sequence[str]) -> str:
    """Return the first protocol of the client's list that is in `accepted`.

    Raises:
        PlainRefusal: 400 where the list or the upgrade to SPDY/3.1 is missing, 403 where nothing fits.
    """
    offered = request.header_list(VERSION_HEADER)
    if not offered:
        raise PlainRefusal(400, f"unable to upgrade: {VERSION_HEADER} is required")
    chosen = next((protocol for protocol in offered if protocol in accepted), None)
    if chosen is None:
        raise PlainRefusal(
            403,
            f"unable to upgrade: unable to negotiate protocol: client supports [{' '.join(offered)}], "
            f"server accepts [{' '.join(accepted)}]",
            [("X-Accepted-Stream-Protocol-Versions", protocol) for protocol in accepted],
        )
    if SPDY.lower() not in request.header("upgrade").lower():
        raise PlainRefusal(400, "unable to upgrade: missing upgrade headers in request")
    return chosen


def spdy_head(protocol: str) -> Fields:
    """Return the fields of a SPDY 101."""
    return [("Connection", "Upgrade"), ("Upgrade", SPDY), (VERSION_HEADER, protocol)]


def negotiate_websocket(request: UpgradeRequest, accepted: Sequence[str]) -> str:
    """Return the first subprotocol of the client's list that is in `accepted`; no list at all is the empty one.

    Raises:
        PlainRefusal: 400 where key or version are missing or wrong, 403 where nothing fits.
    """
    if request.header("sec-websocket-version") != "13":
        raise PlainRefusal(400, "missing or bad WebSocket Version", [("Sec-WebSocket-Version", "13")])
    if not _is_key(request.header("sec-websocket-key")):
        raise PlainRefusal(400, "mismatch challenge/response")
    for protocol in request.header_list("sec-websocket-protocol") or [""]:
        if protocol in accepted:
            return protocol
    raise PlainRefusal(403, "")


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def websocket_head(request: UpgradeRequest, protocol: str) -> Fields:
    """Return the fields of a WebSocket 101."""
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(request.header("sec-websocket-key"))),
        ("Sec-WebSocket-Protocol", protocol),
    ]


def head(code: int, fields: Fields) -> bytes:
    """Return a response's head."""
    lines = [f"HTTP/1.1 {code} {HTTPStatus(code).phrase}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def switch_protocols(
    writer: asyncio.StreamWriter, fields: Fields, faults: StreamingFaults, early: bytes = b""
) -> None:
    """Write the 101, in one piece with `early`, and what the faults put in front of it."""
    await asyncio.sleep(faults.head_delay)
    if faults.informational is not None:
        writer.write(head(faults.informational, []))
    writer.write(head(101, fields) + early)


def write_status_refusal(
    writer: asyncio.StreamWriter, refusal: ContainerRefusal, details: dict[str, str] | None = None
) -> None:
    """Answer with a Status."""
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": refusal.message,
        "reason": refusal.reason,
        **({"details": details} if details else {}),
        "code": refusal.code,
    }
    body = json.dumps(status, separators=(",", ":")).encode() + b"\n"
    _write_body(writer, refusal.code, "application/json", [("Cache-Control", "no-cache, private")], body)


def write_plain_refusal(writer: asyncio.StreamWriter, refusal: PlainRefusal) -> None:
    """Answer with text."""
    body = f"{refusal.text}\n".encode() if refusal.text else b""
    _write_body(writer, refusal.code, "text/plain; charset=utf-8", refusal.fields, body)


def write_other_answer(writer: asyncio.StreamWriter, code: int) -> None:
    """Answer with a redirect to a foreign host, or with a success that is no upgrade."""
    fields = [("Location", "https://elsewhere.example/")] if 300 <= code < 400 else []
    _write_body(writer, code, "text/plain; charset=utf-8", fields, b"not an upgrade\n")


def _write_body(
    writer: asyncio.StreamWriter, code: int, content_type: str, fields: Fields, body: bytes
) -> None:
    about_body = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Connection", "close")]
    writer.write(head(code, [*fields, *about_body]) + body)
