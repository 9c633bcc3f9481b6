"""The tree of errors: what belongs to whom, and that every refusal can be told to a client."""

import re
from http import HTTPStatus

import pytest

from tunnel.core import errors
from tunnel.core.errors import (
    REFUSALS,
    BadGateway,
    Forbidden,
    LocalMisuse,
    PeerViolation,
    Refusal,
    ResponseCut,
    SessionLost,
    TunnelError,
    Unavailable,
    refusal_of,
)

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)
]
LEAVES = [kind for kind in CLASSES if issubclass(kind, Refusal) and kind is not Refusal]


def test_every_error_is_a_tunnel_error() -> None:
    assert all(issubclass(kind, TunnelError) for kind in CLASSES)


def test_our_own_mistakes_and_the_peers_cannot_be_caught_for_each_other() -> None:
    kinds = (LocalMisuse, PeerViolation, SessionLost, ResponseCut, Refusal)
    assert [(one, two) for one in kinds for two in kinds if one is not two and issubclass(one, two)] == []


def test_the_tree_in_the_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    drawn = set(re.findall(r"\b[A-Z]\w+(?=\b)", errors.__doc__.split("\n\nReceiving")[0]))
    assert {kind.__name__ for kind in CLASSES} <= drawn


def test_every_refusal_has_a_status_of_its_own() -> None:
    codes = [kind.code for kind in LEAVES]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not 400 <= HTTPStatus(code) <= 599] == []


def test_the_docstrings_tree_gives_each_refusal_its_code() -> None:
    drawn = dict(re.findall(r"(\w+) (\d{3})", errors.__doc__ or ""))
    assert {kind.__name__: str(kind.code) for kind in LEAVES} == drawn


def test_a_refusal_is_found_by_its_status() -> None:
    assert {kind.code: kind for kind in LEAVES} == REFUSALS
    assert type(refusal_of(403, "no")) is Forbidden


@pytest.mark.parametrize("code", [402, 418, 511, 599])
def test_a_status_that_has_no_class_is_the_hops_own_fault(code: int) -> None:
    refusal = refusal_of(code, "strange")
    assert (type(refusal), refusal.message) == (BadGateway, "strange")


def test_a_refusal_carries_what_its_answer_needs() -> None:
    refusal = Unavailable("no agent", retry_after=1, close=True)
    assert (refusal.message, refusal.retry_after, refusal.close, str(refusal)) == (
        "no agent",
        1,
        True,
        "no agent",
    )
    assert (Forbidden("no").retry_after, Forbidden("no").close) == (None, False)


@pytest.mark.parametrize("written", [True, False])
def test_a_lost_session_says_whether_the_request_had_left(written: bool) -> None:
    lost = SessionLost("the agent is gone", written=written)
    assert (str(lost), lost.written) == ("the agent is gone", written)
