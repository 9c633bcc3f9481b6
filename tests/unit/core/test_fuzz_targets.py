"""The targets of tests/fuzz hold over a few hundred inputs; atheris runs the same for as long as one likes."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import fuzz_channel, fuzz_frames, fuzz_session_agent, fuzz_session_stub

TARGETS = [fuzz_frames, fuzz_channel, fuzz_session_agent, fuzz_session_stub]
inputs = st.binary(max_size=120) | st.builds(
    bytes.__add__, st.integers(0, 3).map(lambda mode: bytes([mode])), st.binary(max_size=80)
)


@pytest.mark.parametrize(
    "one_input", [target.one_input for target in TARGETS], ids=lambda target: target.__module__
)
@settings(max_examples=200)
@given(inputs)
def test_the_invariant_holds(one_input: Callable[[bytes], None], data: bytes) -> None:
    one_input(data)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_states_its_invariant(target: object) -> None:
    assert "Invariants: " in (target.one_input.__doc__ or "")  # type: ignore[attr-defined]
