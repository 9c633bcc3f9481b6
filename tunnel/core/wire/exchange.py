"""What travels with every request: packed, because it is written and read thousands of times a second."""

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from tunnel.core import limits
from tunnel.core.errors import LocalMisuse, PeerViolation
from tunnel.core.http.message import RequestHead, ResponseHead
from tunnel.core.identifiers import RequestId
from tunnel.core.wire.framing import FrameType, encode_frame, frame_too_large
from tunnel.core.wire.pairs import Pair, check_block, decode_pairs

BODY_UNKNOWN: Final = -1
"""A body whose length is known only at its end."""

_REQUEST: Final = Struct(">QQ16sBqII")
_FRAMED_REQUEST: Final = Struct(">BIQQ16sBqII")
"""The same behind the header of its frame."""
_REQUEST_FRAME: Final = int(FrameType.REQUEST)
_BODY_STREAM: Final = 0x01
_UPGRADE: Final = 0x02


@dataclass(slots=True)
class Request:
    """A request on its way to an agent.

    Attributes:
        id: unique in its session, counted up.
        epoch: the stub's epoch of the lease; an agent refuses older ones than it has seen.
        audit: 16 bytes that name the request in the stub's, the agent's and the apiserver's logs (a UUID).
        head: method, target and the client's sanitised fields, without framing, Host or identity.
        caller: `user`, `uid`, `group`…, `extra/KEY`…, `address`: who asks, as pairs; the same bytes for every request
            of one client connection, so that the agent decides about them once.
        body: the whole body where it is small, at most `limits.INLINE_BODY_BYTES`.
        body_length: its length in bytes, or BODY_UNKNOWN.
        body_stream: the body follows on an HTTP/2 stream of its own.
        upgrade: the client asks for an upgrade.
    """

    id: RequestId
    epoch: int
    audit: bytes
    head: RequestHead
    caller: bytes
    body: bytes = b""
    body_length: int = 0
    body_stream: bool = False
    upgrade: bool = False

    def encode(self) -> bytes:
        """Return the frame."""
        method, target, block = self.head.method, self.head.target, self.head.block
        if b"\0" in method or b"\0" in target:
            raise LocalMisuse("a NUL byte cannot travel in a method or a target")
        head = b"\0".join((method, target, block) if block else (method, target))
        flags = _BODY_STREAM * self.body_stream | _UPGRADE * self.upgrade
        caller, body = self.caller, self.body
        length = _REQUEST.size + len(caller) + len(head) + len(body)
        if length > limits.FRAME_BYTES:
            raise frame_too_large(FrameType.REQUEST, length, limits.FRAME_BYTES)
        fixed = _FRAMED_REQUEST.pack(
            _REQUEST_FRAME,
            length,
            self.id,
            self.epoch,
            self.audit,
            flags,
            self.body_length,
            len(caller),
            len(head),
        )
        return b"".join((fixed, caller, head, body))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation; whether the head is sound HTTP is for the reader to check."""
        if len(payload) < _REQUEST.size:
            raise PeerViolation("REQUEST is too short")
        number, epoch, audit, flags, length, caller_length, head_length = _REQUEST.unpack_from(payload)
        head_start = _REQUEST.size + caller_length
        body_start = head_start + head_length
        if body_start > len(payload) or length < BODY_UNKNOWN or not number:
            raise PeerViolation("REQUEST contradicts its own lengths")
        method, target, block = _split_head(payload[head_start:body_start])
        body, streamed = payload[body_start:], bool(flags & _BODY_STREAM)
        if (
            (body and streamed)
            or (not streamed and length != len(body))
            or len(body) > limits.INLINE_BODY_BYTES
        ):
            raise PeerViolation("REQUEST's body is not as long as it says, or too long to be inline")
        return cls(
            id=RequestId(number),
            epoch=epoch,
            audit=audit,
            head=RequestHead(method, target, block=block),
            caller=payload[_REQUEST.size : head_start],
            body=body,
            body_length=length,
            body_stream=streamed,
            upgrade=bool(flags & _UPGRADE),
        )


def _split_head(head: bytes) -> tuple[bytes, bytes, bytes]:
    words = head.split(b"\0", 2)
    if len(words) == 2:
        return words[0], words[1], b""
    if len(words) < 2 or not words[2].count(b"\0") & 1:
        raise PeerViolation("REQUEST's head is not a method, a target and names with values")
    return words[0], words[1], words[2]


_ID: Final = Struct(">Q")


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client of this request is gone, or its answer is no longer wanted."""

    id: RequestId

    def encode(self) -> bytes:
        """Return the frame."""
        return encode_frame(FrameType.CANCEL, _ID.pack(self.id))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        if len(payload) != _ID.size:
            raise PeerViolation("CANCEL is not one id long")
        return cls(RequestId(_ID.unpack(payload)[0]))


_REFUSED: Final = Struct(">Q?H")


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent answers a request itself, with a Status that the stub writes.

    Attributes:
        id: the request.
        retryable: nothing of it was carried out, so another agent may be asked.
        code: the HTTP status, 400 to 599.
        message: for the user; cut to `limits.REFUSAL_BYTES` of UTF-8.
    """

    id: RequestId
    retryable: bool
    code: int
    message: str

    def encode(self) -> bytes:
        """Return the frame."""
        fixed = _REFUSED.pack(self.id, self.retryable, self.code)
        return encode_frame(FrameType.REFUSED, fixed + _cut(self.message))

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation."""
        if not _REFUSED.size <= len(payload) <= _REFUSED.size + limits.REFUSAL_BYTES:
            raise PeerViolation("REFUSED has the wrong length")
        number, retryable, code = _REFUSED.unpack_from(payload)
        if not 400 <= code <= 599:
            raise PeerViolation(f"REFUSED with status {code}")
        # What is no UTF-8 becomes three bytes for each, so that it may be too long only now.
        message = _cut(payload[_REFUSED.size :].decode(errors="replace")).decode()
        return cls(RequestId(number), retryable, code, message)


def _cut(text: str) -> bytes:
    """Return `text` as UTF-8, not longer than it may be, and not cut in the middle of a character."""
    data = text.encode(errors="replace")
    if len(data) > limits.REFUSAL_BYTES:
        data = data[: limits.REFUSAL_BYTES].decode(errors="ignore").encode()
    return data


_HEAD: Final = Struct(">QHBq")
_BODILESS: Final = 0x01


@dataclass(slots=True)
class Head:
    """A response begins on a channel.

    Attributes:
        id: the request it answers.
        response: status and sanitised fields, without framing.
        length: the body's length in bytes, or BODY_UNKNOWN.
        bodiless: no DATA follows, whatever `length` says (HEAD, 204, 304); `length` is then what the upstream announced.
    """

    id: RequestId
    response: ResponseHead
    length: int = BODY_UNKNOWN
    bodiless: bool = False

    @property
    def small(self) -> bool:
        """Whether the response frees its channel with its last byte, without the stub's DONE."""
        return self.bodiless or 0 <= self.length <= limits.SMALL_RESPONSE_BYTES

    def encode(self) -> bytes:
        """Return the frame. Raises LocalMisuse where the fields are above `limits.RESPONSE_HEAD_BYTES`."""
        fixed = _HEAD.pack(self.id, self.response.status, _BODILESS * self.bodiless, self.length)
        return encode_frame(FrameType.HEAD, fixed + self.response.block, limits.RESPONSE_HEAD_BYTES)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. Raises PeerViolation; whether the fields are sound HTTP is for the reader to check."""
        if len(payload) < _HEAD.size:
            raise PeerViolation("HEAD is too short")
        number, status, flags, length = _HEAD.unpack_from(payload)
        if not (status == 101 or 200 <= status <= 599) or length < BODY_UNKNOWN:
            raise PeerViolation(f"HEAD with status {status} and length {length}")
        block = payload[_HEAD.size :]
        check_block(block)
        return cls(RequestId(number), ResponseHead(status, block=block), length, bool(flags & _BODILESS))


def caller_pairs(caller: bytes) -> list[Pair]:
    """Return the names and values of a REQUEST's caller block. Raises PeerViolation."""
    return decode_pairs(caller)[1]
