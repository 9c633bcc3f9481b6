"""Asking the stub, as kubectl would, until the cluster behind it answers."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from certs.store import PairFiles
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address

TRY_SECONDS: Final = 3.0
BETWEEN_SECONDS: Final = 0.15
ALL_SECONDS: Final = 30.0
"""Processes start in under a second on any machine; a cluster far away may take a few more to answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status, and where it is no 200 the message that says why."""

    status: int
    message: str


async def wait_for_version(
    server: Address, authority: Path, user: PairFiles, within: float = ALL_SECONDS
) -> None:
    """Return when `GET /version` with the user's certificate is answered by the cluster.

    Cancelling is safe; a request under way still takes up to `TRY_SECONDS` in its thread.

    Raises:
        CommandFailed: the answer is a refusal (401, 403), or there was none within `within` seconds.
    """
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(user.certificate, user.key)
    reason: str | None = "nothing answered"
    try:
        async with asyncio.timeout(within):
            while True:
                reason = await asyncio.to_thread(why_not_ready, server, context)
                if reason is None:
                    return
                await asyncio.sleep(BETWEEN_SECONDS)
    except TimeoutError:
        raise CommandFailed(
            f"the cluster did not answer through the stub within {within:.0f} s: {reason}"
        ) from None


def why_not_ready(server: Address, context: ssl.SSLContext) -> str | None:
    """Return why the cluster does not answer yet, or None where it does.

    Raises:
        CommandFailed: it answered, with a refusal that waiting will not change.
    """
    try:
        answer = ask_version(server, context)
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    if answer.status in (401, 403):
        raise CommandFailed(f"the cluster refused the user: {answer.status} {answer.message}")
    return None if answer.status == 200 else f"{answer.status} {answer.message}"


def ask_version(server: Address, context: ssl.SSLContext) -> Answer:
    """Send one `GET /version` and return the answer. Blocks for up to `TRY_SECONDS`.

    Raises:
        OSError, HTTPException: there was no answer.
    """
    connection = HTTPSConnection(server.host, server.port, timeout=TRY_SECONDS, context=context)
    try:
        connection.request("GET", "/version", headers={"Accept": "application/json"})
        response = connection.getresponse()
        return Answer(response.status, _message(response.read(64 * 1024)))
    finally:
        connection.close()


def _message(body: bytes) -> str:
    """A Status names its reason in `message`; anything else is shown as it came, and not for long."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace").strip()
