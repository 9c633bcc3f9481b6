"""Every bound of the protocol and of HTTP as it is carried, with its reason.

Sizes are in bytes, times in seconds. What an operator may want to change is a setting whose default
stands here; what both ends must agree on is part of docs/protocol.md.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# HTTP/1.1 as clients send it -------------------------------------------------------------------

HEAD_BYTES: Final = 256 * KIB
"""Request line and fields together. `kubectl exec -- sh -c SCRIPT` puts the script in the target: 60 KB of
arguments, percent-encoded, become up to 180 KB. The apiserver itself takes 1 MiB."""

TARGET_BYTES: Final = 192 * KIB
"""The request target alone."""

FIELD_COUNT: Final = 256
"""Fields in one head; kubectl sends about 10, a browser behind a service proxy about 40."""

FIELD_BYTES: Final = 64 * KIB
"""One field's name and value; service-account tokens with many audiences reach 8 KiB."""

RESPONSE_HEAD_BYTES: Final = 256 * KIB
"""A response's status line and fields."""

EARLY_BYTES: Final = 64 * KIB
"""What a client may send behind an upgrade before the upstream's 101; it waits at the stub."""

PIPELINED_REQUESTS: Final = 32
"""Requests that one read of a client may hold. Neither Go's clients nor browsers send any before the answer to the one in front; this
is for scripts. A read holds 3 600 of the smallest, which kept everybody else waiting for 150 ms; 32 take 1 ms."""

HEAD_SECONDS: Final = 32.0
"""From a head's first byte to its last; the apiserver's own header time-out is 32 s."""

BODY_IDLE_SECONDS: Final = 60.0
"""How long a client may be silent in the middle of a request's body, as with nginx. Until then it holds a request at the apiserver."""

IDLE_SECONDS: Final = 300.0
"""How long a kept-alive client connection may be silent between requests (Go's clients drop theirs after 90 s)."""

TURN_AWAY_SECONDS: Final = 2.0
"""How long a connection on which nothing will be carried out, because it is one too many or the stub drains, may take for the one
request that is told so. An honest client's follows its handshake at once."""

HANDSHAKE_SECONDS: Final = 10.0
"""A TLS handshake, from the first byte; Go's clients give up after 10 s as well."""

CLOSE_SECONDS: Final = 30.0
"""How long the other direction of a spliced pair may drain after one side ended, and a polite close may take."""

RETRY_SECONDS: Final = 15.0
"""How old a request may be that is still asked of a second agent; kubectl's user has waited for the first one already. An agent
that vanished without a word is found out within 13 s (`PING_SECONDS` and `PONG_SECONDS`): reads that it left unanswered are
young enough."""

# Between agent and stub ------------------------------------------------------------------------

FRAME_BYTES: Final = 1 * MIB
"""The payload of one frame, in either direction. The largest is a REQUEST: head plus inline body."""

INLINE_BODY_BYTES: Final = 64 * KIB
"""A request body up to this travels inside its REQUEST frame, so that the stub can still retry it elsewhere."""

DATA_BYTES: Final = 64 * KIB
"""The payload of one DATA frame on a response channel, and of an HTTP/2 frame: larger ones cost more per byte."""

SMALL_RESPONSE_BYTES: Final = 64 * KIB
"""The stub always takes this much of a response at once, so that a small response frees its channel at its last byte."""

STREAM_WINDOW_BYTES: Final = 256 * KIB
"""The first flow-control window of a body's stream."""

STREAM_WINDOW_MAX_BYTES: Final = 16 * MIB
"""How far a body's window may grow while it is drained: 16 MiB in flight carry 160 MB/s over a 100 ms round trip."""

SESSION_WINDOW_BYTES: Final = 2**31 - 1
"""The connection's own window never limits: only a body's stream may wait (design: one slow upload stalls only itself)."""

WRITE_HIGH_BYTES: Final = 64 * KIB
"""Bodies are written to a session only while less than this waits in front of them, so a request never waits behind more."""

READ_BUDGET_BYTES: Final = 64 * KIB
"""What one stream may deliver in one turn of the event loop before the others get theirs."""

FRAMES_PER_TURN: Final = 64
"""Frames of one session that are handled in one turn, those of HTTP/2 and those of the lane together, and frames of one response channel; the
rest of a read waits for the next turn, and nothing is read there meanwhile. A read holds five thousand of the smallest, which kept everybody else waiting for 20 ms, or
400 bodies that begin (90 ms). An honest peer's holds a few; 64 take a millisecond, beside which another turn costs little."""

PING_SECONDS: Final = 5.0
"""Between two PINGs on a session, each way."""

PONG_SECONDS: Final = 8.0
"""A PING without an answer for this long ends the session and its channels."""

REPORT_SECONDS: Final = 5.0
"""Between two REPORTs of an agent."""

HELLO_SECONDS: Final = 10.0
"""From the end of the handshake to the peer's HELLO."""

SESSION_BODY_BYTES: Final = 256 * MIB
"""What the windows of all bodies of one session may grow by, in sum: sixteen uploads at full size, or 1 000 small ones."""

LANE_WINDOW_BYTES: Final = 16 * MIB
"""The lane's window. Its credit is returned on receipt, so this covers only what is under way: 160 MB/s at 100 ms."""

BODY_STREAMS: Final = 10_000
"""HTTP/2 streams of one session at once: the lane and the bodies under way, those announced included."""

GREETING_BYTES: Final = 16 * KIB
"""A frame from the stub on a response channel: HELLO, REJECT and DONE, nothing larger."""

REFUSAL_BYTES: Final = 1 * KIB
"""The message of a REFUSED, in UTF-8."""

CONTROL_BYTES: Final = 64 * KIB
"""The payload of a control message. The largest honest one is a REPORT on 64 resources with long names, below 40 KiB; to read a
hostile one of 64 KiB takes 3 ms, of 1 MiB 370."""

CONTROL_MESSAGES_PER_SECOND: Final = 20
"""Control messages from one peer on a lane; an honest agent sends one REPORT in 5 s. At most 60 ms of a second go into reading them."""

TEXT_CHARACTERS: Final = 256
"""One text in a control message: a name, a reason, a version."""

LIST_ENTRIES: Final = 64
"""Entries of one list in a control message; more is a peer that wants to fill memory."""

HEADER_TABLE_BYTES: Final = 4 * KIB
"""The HPACK table, whatever the peer would store: it is searched line by line, 64 KiB took 337 µs a head."""

CONTROL_FRAMES_PER_SECOND: Final = 100
"""PINGs, SETTINGS, empty DATA and what else HTTP/2 has no use for here, from one peer. An honest one sends one PING in 5 s; each
costs 25 µs and an answer, so a thousand at once were felt by everybody else."""

STREAM_FRAMES_PER_SECOND: Final = 2 * BODY_STREAMS
"""HEADERS and RST_STREAM from one peer: every body may end at once, and as many begin behind them."""

CREDIT_FRAMES_PER_SECOND: Final = 5_000
"""WINDOW_UPDATEs from one peer. Ours come for half a window at a time: 128 KiB at first, so this is 650 MB/s, and 8 MiB where a
window has grown. Each costs 10 µs or more, and a peer that could send more would keep everybody else waiting."""

LINGER_SECONDS: Final = 5.0
"""How long a client that is still sending is read behind its answer, so that a reset does not destroy that answer."""
