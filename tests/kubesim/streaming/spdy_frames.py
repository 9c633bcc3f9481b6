"""The frames of SPDY/3.1, unpacked."""

from dataclasses import dataclass
from enum import IntEnum

HeaderFields = tuple[tuple[str, str], ...]
"""Lower-case names with their values; a repeated name stands for several values."""


class FrameType(IntEnum):
    """Types of control frames."""

    SYN_STREAM = 1
    SYN_REPLY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    HEADERS = 8
    WINDOW_UPDATE = 9


class ResetCode(IntEnum):
    """Why a stream was reset."""

    PROTOCOL_ERROR = 1
    INVALID_STREAM = 2
    REFUSED_STREAM = 3
    CANCEL = 5
    INTERNAL_ERROR = 6


@dataclass(frozen=True, slots=True)
class SynStream:
    """Opens a stream."""

    stream_id: int
    fields: HeaderFields
    fin: bool = False
    priority: int = 0
    associated_id: int = 0


@dataclass(frozen=True, slots=True)
class SynReply:
    """Accepts a stream; peers throw away DATA that comes before it."""

    stream_id: int
    fields: HeaderFields = ()
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Headers:
    """More header fields for an open stream."""

    stream_id: int
    fields: HeaderFields
    fin: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a stream. The decoder hands a long frame on in pieces; `fin` is on the last one."""

    stream_id: int
    payload: bytes
    fin: bool = False


@dataclass(frozen=True, slots=True)
class RstStream:
    """Ends a stream in both directions at once."""

    stream_id: int
    code: int = ResetCode.CANCEL


@dataclass(frozen=True, slots=True)
class Settings:
    """Pairs of (id, value); the per-entry flags are dropped."""

    entries: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Odd ids are the client's, even ones the server's; the other end sends the frame back unchanged."""

    ping_id: int


@dataclass(frozen=True, slots=True)
class GoAway:
    """No further stream of the peer will be accepted."""

    last_good_id: int
    status: int = 0


@dataclass(frozen=True, slots=True)
class WindowUpdate:
    """Credit that nobody in this family counts."""

    stream_id: int
    delta: int


Frame = SynStream | SynReply | Headers | Data | RstStream | Settings | Ping | GoAway | WindowUpdate
