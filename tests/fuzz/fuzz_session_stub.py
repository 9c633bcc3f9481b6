"""Target: a session, read by the stub."""

from tests.fuzz.material import Material
from tests.unit.core.session.pair import Pair, greeted, heard, upload
from tunnel.core import limits
from tunnel.core.errors import PeerViolation
from tunnel.core.identifiers import RequestId
from tunnel.core.session.events import BodyRefused, BodyWanted

BODIES = (RequestId(1), RequestId(2))

SEEDS = (b"\1\2\0\0", b"\2\3\0\2\4\0\0\0\1", b"\2\6\0\0\x0812345678", b"\3\4\4abcd")


def _busy() -> Pair:
    pair = greeted()
    for number in BODIES:
        pair.stub.send_request(upload(number))
    pair.stub.send_body(BODIES[0], bytes(limits.STREAM_WINDOW_BYTES))
    return pair.settle()


def one_input(data: bytes) -> None:
    """Invariants: nothing but PeerViolation is raised; a body is wanted or refused only while it is under way, and its room
    is never negative; the session can be written and ticked behind whatever came."""
    material = Material(data)
    mode = material.byte() % 4
    pair = Pair() if mode == 0 else _busy()
    stub, refused = pair.stub, set[RequestId]()
    try:
        for chunk in material.chunks(mode):
            for event in heard(stub, chunk, pair.now):
                match event:
                    case BodyWanted(request):
                        assert request in BODIES
                        room = stub.body_room(request)
                        assert room >= 0
                        stub.send_body(request, bytes(min(room, 100)))
                    case BodyRefused(request):
                        assert request not in refused
                        refused.add(request)
            stub.output()
    except PeerViolation:
        stub.send_reject("you broke the protocol")
    stub.end_body(BODIES[0])
    stub.break_body(BODIES[1])
    stub.tick(pair.now + limits.PING_SECONDS)
    stub.output()
