"""Honest traffic of every kind, recorded, and ways to spoil it."""

from hypothesis import strategies as st

from tests.unit.core.session.pair import AGENT_HELLO, Pair, heard, http2_frame, request, upload
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.agent_side import AgentSession
from tunnel.core.session.stub_side import StubSession
from tunnel.core.wire.control import Active, Report
from tunnel.core.wire.exchange import Refused


def session_of_every_kind() -> tuple[bytes, bytes]:
    """What a stub and an agent write in a session in which everything happens, from the first byte."""
    pair = Pair()
    to_agent, to_stub = [pair.to_agent()], [pair.to_stub()]
    pair.agent.send_hello(AGENT_HELLO)
    for number, step in enumerate((_ask, _send, _finish, _part)):
        step(pair)
        pair.now += number
        pair.stub.tick(pair.now)
        pair.agent.tick(pair.now)
        to_agent.append(pair.to_agent())
        to_stub.append(pair.to_stub())
    return b"".join(to_agent), b"".join(to_stub)


def _ask(pair: Pair) -> None:
    pair.stub.send_active(Active("uid", 3))
    pair.stub.send_request(request(1, body=b"{}", body_length=2))
    for number in (2, 3, 4):
        pair.stub.send_request(upload(number))


def _send(pair: Pair) -> None:
    pair.agent.send_report(Report(requests=4))
    for number in (2, 3, 4):
        pair.stub.send_body(RequestId(number), bytes(700))


def _finish(pair: Pair) -> None:
    pair.agent.body_consumed(RequestId(2), 700)
    pair.agent.refuse_body(RequestId(3))
    pair.agent.send_refused(Refused(RequestId(1), True, 503, "full"))
    pair.stub.end_body(RequestId(2))
    pair.stub.break_body(RequestId(4))


def _part(pair: Pair) -> None:
    pair.stub.send_cancel(RequestId(1))
    pair.stub.send_drain("bye")
    pair.agent.send_drain("bye")


SMALL = st.integers(0, 8)
http2_noise = st.builds(
    http2_frame,
    kind=st.integers(0, 11),
    stream=st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1]),
    payload=st.binary(max_size=24) | st.sampled_from([bytes(4), bytes(8), b"\0\0\0\1", b"\x88", b"\x82"]),
    flags=st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D, 255]),
)


spoilings = st.lists(st.tuples(st.integers(0, 10_000), SMALL, st.binary(max_size=8)), min_size=1, max_size=3)
"""Where, how many bytes are taken out, and what is put in."""


def spoilt(honest: bytes, spoilings: list[tuple[int, int, bytes]]) -> bytes:
    """`honest` with some bytes replaced, taken out or put in."""
    data = bytearray(honest)
    for place, taken, put in spoilings:
        start = place % (len(data) + 1)
        data[start : start + taken] = put
    return bytes(data)


def survive(session: StubSession | AgentSession, chunks: list[bytes]) -> None:
    """Feed `chunks`; fail on anything but a violation, then and when the session is used behind it."""
    try:
        for chunk in chunks:
            heard(session, chunk, 2000.0)
            session.output()
    except PeerViolation:
        session.send_reject("you broke the protocol")
    session.output()
