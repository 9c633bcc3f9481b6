"""TLS handshakes beside the event loop.

OpenSSL releases the GIL while it signs and verifies, so two threads, shared by the process, keep the loop free and use a
second core. Mutual TLS 1.3, P-256, 16 dialled at a time, a client process on the same two (busy) cores, best of three runs:
337 connections a second on threads and 160 on the loop, at 1.85 and 1.90 ms of the server's CPU each; uvloop's own TLS 134
at 1.81 ms (`python -m tests.bench.tls_streams --what connections [--inline]`).
"""

import asyncio
import contextlib
import math
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from functools import cache
from typing import Final

from tunnel.aio.readbuffer import RECORD_BYTES

THREADS: Final = 2
"""More would only take cores away from the loop; a handshake is pure computation."""

_HEADER_BYTES: Final = 5
_LARGEST_BYTES: Final = RECORD_BYTES + 2048  # RFC 5246 6.2.3; OpenSSL refuses more by the header alone
_CONTENT_TYPES: Final = range(20, 24)

RECORDS_PER_STEP: Final = 64
"""A flight has less than ten; looking through what could be 13 000 empty ones would hold up the loop."""


@cache
def handshake_threads() -> ThreadPoolExecutor:
    """Return the process's threads for handshakes, started with the first one."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="tls-handshake")


class Step(Enum):
    """How a step of a handshake ended, where it did not fail."""

    WANTS_MORE = "wants more"
    DONE = "done"


class Handshake:
    """One connection's handshake: bytes in, bytes out, and in the end a result.

    The BIOs belong to the thread while a step runs, so what arrives meanwhile is kept outside of them.

    Args:
        loop: where the callbacks run.
        sslobj: the connection's state, over `incoming` and `outgoing`.
        send: given the bytes for the peer behind each step, which may be none.
        finished: told None once the handshake is done, or why it failed.
    """

    __slots__ = (
        "_ended",
        "_finished",
        "_incoming",
        "_loop",
        "_outgoing",
        "_send",
        "_sslobj",
        "_stopped",
        "kept",
        "running",
        "waiting_since",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sslobj: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        send: Callable[[bytes], None],
        finished: Callable[[Exception | None], None],
    ) -> None:
        self._loop = loop
        self._sslobj = sslobj
        self._incoming = incoming
        self._outgoing = outgoing
        self._send = send
        self._finished = finished
        self._ended = self._stopped = False
        self.kept = bytearray()
        """Bytes that have arrived and OpenSSL has not seen."""
        self.running = False
        """Whether a thread is at work on it."""
        self.waiting_since = -math.inf
        """When we last spoke, so that it became the peer's turn, by the loop's clock; -inf where we have not, or it has failed."""

    def step(self) -> None:
        """Let OpenSSL go on with what is there, but for a record that is not whole: the rest of it would be taken for the beginning of
        another one."""
        self.running = True
        size = usable_bytes(self.kept)
        self._incoming.write(self.kept[:size])
        del self.kept[:size]
        handshake_threads().submit(self._run)

    def received(self, data: memoryview) -> None:
        """Take bytes of the peer."""
        self.kept += data
        if not self.running and usable_bytes(self.kept):
            self.step()

    def ended(self) -> None:
        """Take the peer's FIN; a step that runs may still learn from an alert why."""
        self._ended = True
        if not self.running:
            self._finished(EOFError("the peer closed the connection during the handshake"))

    def stop(self) -> None:
        """Tell nothing more; a step that runs comes to its end unseen."""
        self._stopped = True

    def give_up(self) -> None:
        """It has failed, and its connection has nothing left to do but to let the peer read why: it has no claim to its place."""
        self.waiting_since = -math.inf

    def _run(self) -> None:
        """In a thread."""
        outcome: Step | Exception
        try:
            self._sslobj.do_handshake()
            outcome = Step.DONE
        except ssl.SSLWantReadError:
            outcome = Step.WANTS_MORE
        except Exception as error:
            # Whatever it is (OpenSSL's errors, ValueError for a hostname, an error of the SNI callback) ends this
            # connection, and its reason is told on the loop's thread.
            outcome = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._stepped, outcome)

    def _stepped(self, outcome: Step | Exception) -> None:
        self.running = False
        if self._stopped:
            return
        flight = self._outgoing.read()
        self._send(flight)
        if flight:
            # A byte of junk has no answer and costs no signature, so it gives no claim to a place.
            self.waiting_since = self._loop.time()
        if isinstance(outcome, Exception):
            self._finished(outcome)
        elif outcome is Step.DONE:
            self._finished(None)
        elif usable_bytes(self.kept):
            self.step()
        elif self._ended:
            self.ended()


def usable_bytes(kept: bytearray) -> int:
    """Return how much of `kept` OpenSSL can do anything with: its whole records, or all of it where it can never become one.

    So a peer that sends a byte at a time costs one step per record, not one per byte."""
    end = 0
    for _ in range(RECORDS_PER_STEP):
        if end < len(kept) and kept[end] not in _CONTENT_TYPES:
            return len(kept)
        body = end + _HEADER_BYTES
        if len(kept) < body:
            break
        size = int.from_bytes(kept[body - 2 : body], "big")
        if size > _LARGEST_BYTES:
            return len(kept)
        if len(kept) < body + size:
            break
        end = body + size
    return end
