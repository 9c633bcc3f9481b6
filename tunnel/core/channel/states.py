"""The life of a response channel as a table; anything that is not in it is an error.

`TRANSITIONS` knows both ends: what the agent sends is what the stub receives, so one table serves both, and the two can
never disagree about what may come next. The enums are ints because the table is looked into for each frame, and other
enums are hashed in Python. docs/protocol.md shows the same table and a test compares the two.
"""

from enum import IntEnum, auto
from typing import Final

from tunnel.core.errors import LocalMisuse, PeerViolation


class ChannelState(IntEnum):
    """Where a response channel stands."""

    GREETING = auto()
    IDLE = auto()
    RESPONDING = auto()
    ENDED = auto()
    RAW = auto()
    CLOSED = auto()


class ChannelInput(IntEnum):
    """What can happen on it."""

    HELLO = auto()
    HEAD = auto()
    HEAD_101 = auto()
    DATA = auto()
    END_SMALL = auto()
    END_LARGE = auto()
    DONE = auto()
    ABORT = auto()
    REJECT = auto()
    CLOSE = auto()


_S, _I = ChannelState, ChannelInput

TRANSITIONS: Final[dict[tuple[ChannelState, ChannelInput], ChannelState]] = {
    (_S.GREETING, _I.HELLO): _S.IDLE,
    (_S.IDLE, _I.HEAD): _S.RESPONDING,
    (_S.IDLE, _I.HEAD_101): _S.RAW,
    (_S.RESPONDING, _I.DATA): _S.RESPONDING,
    # A small response frees the channel with its last byte; for any other the agent waits for the stub's DONE, so that
    # no response ever queues behind one that a slow client has not taken yet.
    (_S.RESPONDING, _I.END_SMALL): _S.IDLE,
    (_S.RESPONDING, _I.END_LARGE): _S.ENDED,
    (_S.RESPONDING, _I.ABORT): _S.CLOSED,
    (_S.ENDED, _I.DONE): _S.IDLE,
    # In every state that has frames: an agent may have begun a response before it hears that its HELLO was refused.
    **{(state, _I.REJECT): _S.CLOSED for state in (_S.GREETING, _S.IDLE, _S.RESPONDING, _S.ENDED)},
    **{(state, _I.CLOSE): _S.CLOSED for state in ChannelState},
}


def step(state: ChannelState, what: ChannelInput) -> ChannelState:
    """Return the state behind something that this end does. Raises LocalMisuse where the table does not have it."""
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise LocalMisuse(f"{what.name} in state {state.name}") from None


def receive_step(state: ChannelState, what: ChannelInput) -> ChannelState:
    """Return the state behind something that the peer did. Raises PeerViolation where the table does not have it."""
    try:
        return TRANSITIONS[state, what]
    except KeyError:
        raise PeerViolation(f"{what.name} on a response channel in state {state.name}") from None
