"""What of a flight OpenSSL is given and when, and what the threads do to a loop that is gone."""

import asyncio
import contextlib
import math
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import pki
from tunnel.aio import handshake
from tunnel.aio.handshake import RECORDS_PER_STEP, THREADS, Handshake, handshake_threads, usable_bytes

RECORD = b"\x16\x03\x01\x00\x02\x01\x02"


@pytest.mark.parametrize(
    ("kept", "usable"),
    [
        (b"", 0),
        (b"\x16", 0),
        (b"\x16\x03\x01\x00", 0),
        (b"\x16\x03\x01\x00\x02\x01", 0),
        (RECORD, 7),
        (b"\x15\x03\x01\x00\x02\x02\x28", 7),
        (RECORD + b"\x16", 7),
        (RECORD + RECORD[:-1], 7),
        (RECORD + RECORD, 14),
        (RECORD + b"GET", 10),
        (RECORD + b"\x16\x03\x01\xff\xff.", 13),
        (b"G", 1),
        (b"\x00", 1),
        (b"\x80", 1),
    ],
)
def test_openssl_gets_whole_records_and_what_never_becomes_one(kept: bytes, usable: int) -> None:
    assert usable_bytes(bytearray(kept)) == usable


def test_a_record_larger_than_any_is_not_waited_for() -> None:
    assert usable_bytes(bytearray(b"\x16\x03\x01\xff\xff")) == 5


def test_many_tiny_records_are_looked_through_step_by_step() -> None:
    assert usable_bytes(bytearray(RECORD * 2 * RECORDS_PER_STEP)) == len(RECORD) * RECORDS_PER_STEP


def test_the_process_has_one_pool_of_threads() -> None:
    assert handshake_threads() is handshake_threads()
    assert handshake_threads()._max_workers == THREADS


@pytest.mark.parametrize("junk", [b"G", b"\0", RECORD[:-1]])
async def test_what_gets_no_answer_gives_no_claim_to_a_place(
    junk: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "handshake_threads", Inline)
    end = Ours(pki.server_context(pki.Authority(tmp_path).server()), None)
    end.handshake.received(memoryview(junk))
    await asyncio.sleep(0)
    assert end.outcomes == []
    assert not end.handshake.running
    assert end.handshake.waiting_since == -math.inf


# A flight in pieces ----------------------------------------------------------------------------

SEEMS_A_RECORD = b"\x17" * 6
"""The name of a protocol, which both hellos of TLS 1.2 show: where a record is cut in front of it, the rest looks like the
beginning of one with 5911 bytes."""


class Inline:
    """Does on the loop what threads do."""

    def submit(self, step: Callable[[], None]) -> None:
        step()


class Ours:
    """The end under test."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self.sent = b""
        self.outcomes: list[Exception | None] = []
        self.handshake = Handshake(
            asyncio.get_running_loop(), *tls_in_memory(context, name), self._send, self.outcomes.append
        )
        if name is not None:
            self.handshake.step()

    def _send(self, flight: bytes) -> None:
        self.sent += flight

    def take(self) -> bytes:
        taken, self.sent = self.sent, b""
        return taken


def tls_in_memory(
    context: ssl.SSLContext, name: str | None
) -> tuple[ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=name is None, server_hostname=name)
    return tls, incoming, outgoing


def in_two_records(flight: bytes) -> bytes:
    """Return `flight` with its first message in two records, which RFC 5246 6.2.1 lets everybody do."""
    end = 5 + int.from_bytes(flight[3:5], "big")
    pieces = (flight[5:15], flight[15:end])
    return b"".join(flight[:3] + len(each).to_bytes(2, "big") + each for each in pieces) + flight[end:]


def cut(flight: bytes) -> list[bytes]:
    """Return `flight` as it may arrive: cut within its second record, where the rest seems to be a record."""
    if SEEMS_A_RECORD not in flight:
        return [flight]
    whole = in_two_records(flight)
    where = whole.index(SEEMS_A_RECORD)
    return [whole[:where], whole[where:]]


@pytest.mark.parametrize("server", [True, False], ids=["as a server", "as a client"])
async def test_the_rest_of_a_record_is_not_taken_for_the_beginning_of_another(
    server: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshake, "handshake_threads", Inline)
    authority = pki.Authority(tmp_path)
    ends = [
        (pki.server_context(authority.server(), alpn=[SEEMS_A_RECORD.decode()]), None),
        (pki.client_context(authority, alpn=[SEEMS_A_RECORD.decode()]), "localhost"),
    ]
    for context, _ in ends:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    ours, theirs = ends if server else reversed(ends)
    end = Ours(*ours)
    tls, incoming, outgoing = tls_in_memory(*theirs)
    for _ in range(4):
        await asyncio.sleep(0)
        incoming.write(end.take())
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        for piece in cut(outgoing.read()):
            end.handshake.received(memoryview(piece))
            await asyncio.sleep(0)
    assert end.outcomes == [None]
    assert end.handshake.waiting_since > 0
