"""What a hostile end of a session sends in place of HTTP/2 that anybody needs: frames that cost the other end more than itself."""

from collections.abc import Mapping
from typing import Final

from tests.unit.core.session.pair import http2_frame
from tunnel.core.session.http2 import LANE_STREAM

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, _, PING, _, WINDOW_UPDATE = range(9)
END_HEADERS: Final = 4
OK: Final = b"\x88"
"""`:status: 200` in HPACK."""

GREETING: Final = http2_frame(SETTINGS, 0) + http2_frame(HEADERS, LANE_STREAM, OK, END_HEADERS)
"""What an agent's side begins with, so that what follows is a flood and not nonsense."""

FLOODS: Final[Mapping[str, bytes]] = {
    "20 000 streams opened and reset": b"".join(
        http2_frame(HEADERS, number, OK, END_HEADERS) + http2_frame(RST_STREAM, number, bytes(4))
        for number in range(3, 40_003, 2)
    ),
    "50 000 resets": http2_frame(RST_STREAM, LANE_STREAM, bytes(4)) * 50_000,
    "5 000 PINGs": http2_frame(PING, 0, bytes(8)) * 5_000,
    "5 000 SETTINGS": http2_frame(SETTINGS, 0) * 5_000,
    "5 000 PRIORITYs": http2_frame(PRIORITY, 3, bytes(5)) * 5_000,
    "100 000 empty DATA": http2_frame(DATA, LANE_STREAM) * 100_000,
    "100 000 WINDOW_UPDATEs": http2_frame(WINDOW_UPDATE, LANE_STREAM, (1).to_bytes(4, "big")) * 100_000,
    "a window overflow": http2_frame(WINDOW_UPDATE, LANE_STREAM, (2**31 - 1).to_bytes(4, "big")) * 2,
}
