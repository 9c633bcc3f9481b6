"""Endpoints of the simulator's own, below `/kubesim/`: they show a tunnel's tests what arrived, and send known bytes.

echo            method, raw target, headers in order, length and SHA-256 of the body, as JSON
bytes?n=N       N known bytes, with Content-Length, or chunked with `chunked=1`
slow?n=N&ms=M   N lines, one every M milliseconds, chunked
sink            reads the body and answers its length and SHA-256; `ms=M` waits after every piece
status?code=N   an empty answer with that status
faults          GET lists, POST adds one, DELETE removes all, or the one that `faults/ID` names
audit           the audit events; `id=AUDIT-ID` picks
compact         POST forgets the history of changes, so that older watches get 410
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final

from tests.kubesim import status
from tests.kubesim.audit import Audit
from tests.kubesim.faults import Faults
from tests.kubesim.http import Request, Response, json_response, parse
from tests.kubesim.store import Store

_BLOCK: Final = 64 * 1024


def known_bytes(start: int, length: int) -> bytes:
    """Return `length` bytes of an endless, known text, from position `start`: byte i is (i * 31 + i // 251) % 256."""
    return bytes((i * 31 + i // 251) % 256 for i in range(start, start + length))


_PERIOD: Final = 251 * 256
_TEXT: Final = known_bytes(0, _PERIOD)


class Probes:
    """Serves `/kubesim/...`; RBAC guards it like any other path."""

    def __init__(self, faults: Faults, audit: Audit, store: Store) -> None:
        self._faults = faults
        self._audit = audit
        self._store = store

    async def serve(self, request: Request, segments: list[str]) -> Response:
        """Answer one of the endpoints above.

        Raises:
            ApiError: 404 there is no such endpoint, 400 its query or body is malformed.
        """
        match segments:
            case ["echo", *_]:
                return await _echo(request)
            case ["bytes"]:
                return _bytes(request)
            case ["slow"]:
                return Response(200, [("Content-Type", "text/plain")], stream=_slow(request))
            case ["sink"]:
                return json_response(request, await _digest(request, (request.number("ms") or 0) / 1000))
            case ["status"]:
                return Response(request.number("code") or 200)
            case ["faults", *rest]:
                return await self._switch(request, rest)
            case ["audit"]:
                wanted = request.query("id")
                events = self._audit.of(wanted) if wanted else self._audit.events
                return json_response(request, {"items": events})
            case ["compact"] if request.method == "POST":
                self._store.compact()
                return json_response(request, {})
        raise status.no_such_resource()

    async def _switch(self, request: Request, rest: list[str]) -> Response:
        if request.method == "POST":
            body = parse(await request.body(), yaml_too=False)
            try:
                fault = self._faults.add(**body)
            except (TypeError, ValueError) as error:
                raise status.bad_request(str(error)) from error
            return json_response(request, {"id": fault.id}, 201)
        if request.method == "DELETE":
            if not rest:
                self._faults.clear()
            elif not rest[0].isdigit() or not self._faults.remove(int(rest[0])):
                raise status.no_such_resource()
            return json_response(request, {})
        return json_response(request, {"items": self._faults.listed()})


async def _digest(request: Request, pause: float = 0.0) -> dict[str, Any]:
    digest, length = hashlib.sha256(), 0
    while data := await request.read_body():
        digest.update(data)
        length += len(data)
        if pause:
            await asyncio.sleep(pause)
    return {"length": length, "sha256": digest.hexdigest()}


async def _echo(request: Request) -> Response:
    seen = {"method": request.method, "target": request.target, "headers": request.headers}
    user = {"user": request.user.info(), "peer": request.peer}
    return json_response(request, seen | {"body": await _digest(request)} | user)


def _bytes(request: Request) -> Response:
    length = request.number("n") or 0
    headers = [("Content-Type", "application/octet-stream")]
    if not request.flag("chunked"):
        headers.append(("Content-Length", str(length)))
    return Response(200, headers, stream=_known_stream(length))


async def _known_stream(length: int) -> AsyncIterator[bytes]:
    for start in range(0, length, _BLOCK):
        count, offset = min(_BLOCK, length - start), start % _PERIOD
        piece = _TEXT[offset : offset + count]
        if len(piece) < count:
            piece += _TEXT[: count - len(piece)]
        yield piece


async def _slow(request: Request) -> AsyncIterator[bytes]:
    pause = (request.number("ms") or 100) / 1000
    for number in range(request.number("n") or 10):
        yield f"line {number}\n".encode()
        await asyncio.sleep(pause)
