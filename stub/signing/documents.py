"""Reads an issuer's documents over HTTPS."""

import asyncio
import json
import ssl
from urllib.parse import urlsplit

from certs.call import CALL_SECONDS, Call, CallFailed, Request
from stub.signing.oidc import FetchFailed
from tunnel.aio.dial import dial_tls
from tunnel.aio.errors import DialFailed


class Documents:
    """See the module.

    Args:
        context: whom to trust.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    async def fetch(self, url: str) -> object:
        """Return the JSON document at an https URL; redirections are not followed.

        Raises:
            FetchFailed: there is none.
        """
        host, port, request = _request(url)
        call = Call(request)
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await dial_tls(host, port, self._context, handler_factory=lambda: call)
                answer = await call.answer()
        except TimeoutError:
            raise FetchFailed(f"{url} did not answer within {CALL_SECONDS:g} s") from None
        except (DialFailed, CallFailed) as error:
            raise FetchFailed(f"{url}: {error}") from None
        if answer.status != 200:
            raise FetchFailed(f"{url} answered {answer.status}")
        try:
            document: object = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise FetchFailed(f"{url} is not JSON") from None
        return document


def _request(url: str) -> tuple[str, int, Request]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError:
        host = None
    # The URL is the issuer's word: it must not be able to add a line to the request.
    plain = url.isascii() and url.isprintable() and " " not in url
    if host is None or not plain or parts.scheme != "https" or parts.username is not None:
        raise FetchFailed(f"{url[:200]!r} is not an https URL")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return host, port, Request(parts.netloc, target)
