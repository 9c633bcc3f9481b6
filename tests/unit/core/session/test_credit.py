"""Credit is conserved: after any mix of bodies, ends, breaks, refusals and cancels, every window and budget is whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.session.pair import Pair, greeted, of, upload
from tunnel.core import limits
from tunnel.core.identifiers import RequestId
from tunnel.core.session import http2
from tunnel.core.session.events import BodyReceived
from tunnel.core.session.http2 import LANE_STREAM
from tunnel.core.wire.exchange import BODY_UNKNOWN

BUDGET = 3 * limits.STREAM_WINDOW_BYTES


class Uploads:
    """Bodies of a pair, driven by numbers."""

    def __init__(self) -> None:
        self.pair = greeted(BUDGET)
        self.opened = 0
        self.held: dict[RequestId, int] = {}
        self.unsent: dict[RequestId, int] = {}

    def open(self, which: int, amount: int) -> None:
        self.opened += 1
        self.unsent[RequestId(self.opened)] = amount
        self.pair.stub.send_request(upload(self.opened, BODY_UNKNOWN if which % 2 else amount))

    def send(self, which: int, amount: int) -> None:
        request = self.chosen(which)
        size = min(amount, self.pair.stub.body_room(request), self.unsent.get(request, 0))
        self.pair.stub.send_body(request, bytes(size))
        self.unsent[request] = self.unsent.get(request, 0) - size

    def consume(self, which: int, amount: int) -> None:
        request = self.chosen(which)
        taken = min(amount, self.held.get(request, 0))
        self.held[request] = self.held.get(request, 0) - taken
        self.pair.agent.body_consumed(request, taken)

    def end(self, which: int, amount: int) -> None:
        self.pair.stub.end_body(self.chosen(which))

    def break_off(self, which: int, amount: int) -> None:
        self.pair.stub.break_body(self.chosen(which))

    def refuse(self, which: int, amount: int) -> None:
        request = self.chosen(which)
        self.held.pop(request, None)
        self.pair.agent.refuse_body(request)

    def cancel(self, which: int, amount: int) -> None:
        self.pair.stub.send_cancel(self.chosen(which))

    def carry_to_agent(self, which: int, amount: int) -> None:
        self.pair.to_agent()
        self.hear()

    def carry_to_stub(self, which: int, amount: int) -> None:
        self.pair.to_stub()

    def chosen(self, which: int) -> RequestId:
        return RequestId(which % (self.opened or 1) + 1)

    def hear(self) -> None:
        for event in of(BodyReceived, self.pair.at_agent):
            self.held[event.id] = self.held.get(event.id, 0) + len(event.data)
        self.pair.at_agent.clear()

    def finish(self) -> Pair:
        """End what is under way, consume what is held, and let everything arrive."""
        for number in range(1, self.opened + 1):
            self.pair.stub.end_body(RequestId(number))
        self.pair.settle()
        self.hear()
        for request, amount in self.held.items():
            self.pair.agent.body_consumed(request, amount)
        return self.pair.settle()


STEPS: list[Callable[[Uploads, int, int], None]] = [
    Uploads.open,
    Uploads.open,
    Uploads.send,
    Uploads.send,
    Uploads.send,
    Uploads.consume,
    Uploads.consume,
    Uploads.end,
    Uploads.break_off,
    Uploads.refuse,
    Uploads.cancel,
    Uploads.carry_to_agent,
    Uploads.carry_to_agent,
    Uploads.carry_to_stub,
]
steps = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 5), st.integers(0, 2 * limits.STREAM_WINDOW_BYTES)),
    max_size=40,
)


@contextmanager
def credit_returned_at_once() -> Iterator[None]:
    """The connection's credit goes back with every read instead of every 64 MiB, so that it can be whole."""
    step = http2._CONNECTION_CREDIT_STEP
    http2._CONNECTION_CREDIT_STEP = 1  # type: ignore[misc]
    try:
        yield
    finally:
        http2._CONNECTION_CREDIT_STEP = step  # type: ignore[misc]


def check_whole(pair: Pair) -> None:
    ours, theirs = pair.stub._http2, pair.agent._http2
    assert (
        theirs.inbound_flow_control_window == ours.outbound_flow_control_window == limits.SESSION_WINDOW_BYTES
    )
    assert (
        ours.inbound_flow_control_window == theirs.outbound_flow_control_window == limits.SESSION_WINDOW_BYTES
    )
    assert ours.room(LANE_STREAM) + pair.agent._lane._owed == limits.LANE_WINDOW_BYTES
    assert theirs.room(LANE_STREAM) + pair.stub._lane._owed == limits.LANE_WINDOW_BYTES
    assert list(ours.streams) == list(theirs.streams) == [LANE_STREAM]
    assert pair.agent._bodies._budget.take(BUDGET + 1) == BUDGET


def check_forgotten(pair: Pair) -> None:
    outgoing, incoming = pair.stub._bodies, pair.agent._bodies
    assert [*outgoing._bodies, *outgoing._streams, *outgoing._unopened] == []
    assert [*incoming._bodies, *incoming._streams, *incoming._announced, *incoming._unwanted] == []


@settings(max_examples=200)
@given(steps)
def test_every_window_and_budget_is_whole_in_the_end_and_every_body_forgotten(
    script: list[tuple[Callable[[Uploads, int, int], None], int, int]],
) -> None:
    with credit_returned_at_once():
        uploads = Uploads()
        for step, which, amount in script:
            step(uploads, which, amount)
        pair = uploads.finish()
    check_forgotten(pair)
    check_whole(pair)


@given(steps)
def test_an_agent_never_holds_more_than_it_granted(
    script: list[tuple[Callable[[Uploads, int, int], None], int, int]],
) -> None:
    uploads = Uploads()
    for step, which, amount in script:
        step(uploads, which, amount)
        held = sum(body.held for body in uploads.pair.agent._bodies._bodies.values())
        assert held <= BUDGET + uploads.opened * limits.STREAM_WINDOW_BYTES
