"""Target: a session, read by the agent."""

from tests.fuzz.material import Material
from tests.unit.core.session.pair import Pair, greeted, heard, upload
from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.session.events import BodyReceived, SessionClosed
from tunnel.core.wire.exchange import Request

SEEDS = (b"\1\2\0\0", b"\2\0\1\1\5hello", b"\2\6\0\0\x0812345678", b"\3\3\4abcd")


def _busy() -> Pair:
    pair = greeted()
    for number in (1, 2):
        pair.stub.send_request(upload(number, number * 100))
    return pair.settle()


def one_input(data: bytes) -> None:
    """Invariants: nothing but PeerViolation is raised; request ids rise; what is held of bodies stays within their windows;
    the session can be written, ticked and refused behind whatever came."""
    material = Material(data)
    mode = material.byte() % 4
    pair = Pair() if mode == 0 else _busy()
    agent, last = pair.agent, 2
    try:
        for chunk in material.chunks(mode):
            for event in heard(agent, chunk, pair.now):
                match event:
                    case Request():
                        assert event.id > last or mode == 0
                        last = event.id
                    case BodyReceived():
                        agent.body_consumed(event.id, len(event.data) // 2)
                    case SessionClosed():
                        agent.send_drain("seen")
            agent.output()
    except PeerViolation:
        agent.send_reject("you broke the protocol")
    agent.refuse_body(upload(1).id)
    agent.tick(pair.now + limits.PING_SECONDS)
    agent.output()
