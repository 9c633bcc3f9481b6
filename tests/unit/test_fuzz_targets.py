"""The targets of tests/fuzz hold over the inputs they keep and a few hundred others, without atheris, which runs the same for as
long as one likes."""

import random
from collections.abc import Callable
from importlib import import_module

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus, fuzz_requests, run

TARGETS = corpus.targets()
SLOW = {"front", "answers", "tls", "session_agent", "session_stub"}
"""These build a connection for each input."""

inputs = st.binary(max_size=120) | st.builds(
    bytes.__add__, st.integers(0, 3).map(lambda mode: bytes([mode])), st.binary(max_size=80)
)


def invariant(target: str) -> Callable[[bytes], None]:
    one_input: Callable[[bytes], None] = import_module(f"tests.fuzz.fuzz_{target}").one_input
    return one_input


def changed(data: bytes, chance: random.Random) -> bytes:
    """`data` with one to three bytes changed, doubled, cut out or moved."""
    for _ in range(chance.randint(1, 3)):
        at, to = sorted(chance.randint(0, len(data)) for _ in range(2))
        piece = chance.choice([b"", bytes([chance.randint(0, 255)]), data[at:to] * 2, b"\r\n", b"0", b" "])
        data = data[:at] + piece + data[chance.choice([at, to, at + 1]) :]
    return data


@pytest.mark.parametrize("target", TARGETS)
def test_the_invariant_holds_over_what_was_kept(target: str) -> None:
    for each in corpus.inputs(target):
        invariant(target)(each)


def test_the_target_of_requests_reaches_those_that_are_admitted() -> None:
    """Its checks run in callbacks of the parser; once a name in them was stale, and each of these looked malformed."""
    said = [fuzz_requests.Cut().feed([seed[1:]]).said for seed in fuzz_requests.SEEDS[:6]]
    assert all("completed" in each for each in said)


@pytest.mark.parametrize("target", TARGETS)
def test_the_invariant_holds_over_what_was_kept_and_then_changed(target: str) -> None:
    chance, kept = random.Random(target), list(corpus.inputs(target))
    for _ in range(40 if target in SLOW else 400):
        invariant(target)(changed(chance.choice(kept), chance))


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in SLOW])
def test_the_invariant_holds_over_any_bytes(target: str) -> None:
    one_input = invariant(target)

    @settings(max_examples=200, derandomize=True, deadline=None)
    @given(inputs)
    def holds(data: bytes) -> None:
        one_input(data)

    holds()


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_states_its_invariant(target: str) -> None:
    assert "Invariants: " in (invariant(target).__doc__ or "")


def test_the_table_of_searches_lines_up_and_sums_up() -> None:
    first = run.Search("frames", 10, 2_000_000, 5, 100, 30, failed=False)
    second = run.Search("frames", 5, 1_000_000, 7, 120, 31, failed=True)
    (total,) = run.totals([first, second])
    assert (total.seconds, total.executions, total.inputs, total.failed) == (15, 3_000_000, 7, True)
    assert len(run.row(first).removesuffix("held")) == len(run.HEAD.removesuffix("outcome"))
    assert "3 000 000" in run.row(total)


def test_an_unknown_target_is_a_usage_error_that_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        run.main(["nonsense"])
    assert exit.value.code == 2
    assert "nonsense is no target: there are answers, " in capsys.readouterr().err
