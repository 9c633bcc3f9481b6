"""The limits fit together, and each has its reason."""

import ast
from itertools import pairwise
from pathlib import Path

from tunnel.core import limits

CONSTANTS = {name: value for name, value in vars(limits).items() if name.isupper()}


def test_every_limit_has_a_unit_in_its_name_and_a_reason_below_it() -> None:
    body = ast.parse(Path(limits.__file__).read_text()).body
    explained = {
        assignment.target.id
        for assignment, reason in pairwise(body)
        if isinstance(assignment, ast.AnnAssign)
        and isinstance(assignment.target, ast.Name)
        and isinstance(reason, ast.Expr)
        and isinstance(reason.value, ast.Constant)
    }
    assert set(CONSTANTS) - {"KIB", "MIB"} == explained
    units = (
        "_BYTES",
        "_SECONDS",
        "_COUNT",
        "_CHARACTERS",
        "_ENTRIES",
        "_STREAMS",
        "_REQUESTS",
        "_PER_SECOND",
        "_PER_TURN",
    )
    assert [name for name in explained if not name.endswith(units)] == []


def test_every_limit_is_positive() -> None:
    assert [name for name, value in CONSTANTS.items() if value <= 0] == []


def test_the_largest_request_fits_into_a_frame() -> None:
    caller = limits.FRAME_BYTES - limits.HEAD_BYTES - limits.INLINE_BODY_BYTES
    assert caller >= 512 * limits.KIB, "what is left for the caller block"


def test_a_target_and_a_field_fit_into_a_head() -> None:
    assert limits.TARGET_BYTES + limits.FIELD_BYTES <= limits.HEAD_BYTES


def test_a_lane_carries_several_of_the_largest_frames_at_once() -> None:
    assert limits.LANE_WINDOW_BYTES >= 16 * limits.FRAME_BYTES


def test_a_bodys_window_carries_several_http2_frames() -> None:
    assert limits.STREAM_WINDOW_BYTES >= 4 * limits.DATA_BYTES
    assert limits.STREAM_WINDOW_MAX_BYTES % limits.STREAM_WINDOW_BYTES == 0


def test_http2_allows_the_sizes() -> None:
    assert 2**14 <= limits.DATA_BYTES <= 2**24 - 1, "RFC 9113 6.5.2"
    assert limits.SESSION_WINDOW_BYTES == 2**31 - 1, "RFC 9113 6.9.1"


def test_a_dead_peer_is_noticed_within_fifteen_seconds() -> None:
    assert limits.PING_SECONDS + limits.PONG_SECONDS < 15


def test_a_small_response_is_one_frame() -> None:
    assert limits.SMALL_RESPONSE_BYTES <= limits.DATA_BYTES
