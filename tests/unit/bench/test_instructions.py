"""Instructions of a request, and their ceiling."""

from pathlib import Path

import pytest

from tests.bench.instructions import ALLOCATIONS, INSTRUCTIONS, Ceiling, available, count, parse, python
from tests.bench.processes import BenchFailed

FOUND = {"stub": 103_100.0, "agent": 100_000.0}


def test_the_number_is_read_from_what_valgrind_prints() -> None:
    assert parse(INSTRUCTIONS, "==1== \n==1== Collected : 1777802907\n") == 1777802907
    assert parse(ALLOCATIONS, "==1==   total heap usage: 1,608,174 allocs, 1,432,415 frees") == 1608174


def test_output_without_a_number_is_an_error() -> None:
    with pytest.raises(BenchFailed, match="instructions"):
        parse(INSTRUCTIONS, "valgrind: no such tool")


def test_what_is_above_the_ceiling_by_more_than_the_tolerance_is_named() -> None:
    ceiling = Ceiling(3.0, {"CPython 3.11": {"stub": 100_000, "agent": 100_000}})
    assert ceiling.exceeded(FOUND, "CPython 3.11") == [
        "stub: 103,100 instructions a request, +3.1% of 100,000"
    ]
    assert ceiling.exceeded({"stub": 103_000.0, "agent": 50_000.0}, "CPython 3.11") == []


def test_another_python_has_another_ceiling() -> None:
    assert Ceiling(3.0, {"CPython 3.11": {"stub": 1}}).exceeded(FOUND, "CPython 3.13") == []


def test_what_was_found_can_become_what_is_expected(tmp_path: Path) -> None:
    path = tmp_path / "ceiling.json"
    Ceiling(3.0, {"CPython 3.13": {"stub": 1}}).update(FOUND, "CPython 3.11", path)
    written = Ceiling.read(path)
    assert written.instructions == {
        "CPython 3.13": {"stub": 1},
        "CPython 3.11": {"stub": 103_100, "agent": 100_000},
    }
    assert written.exceeded(FOUND, "CPython 3.11") == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not available(), reason="valgrind is not installed")
def test_a_request_takes_no_more_instructions_than_it_may() -> None:
    """Where it fails for a good reason: `python -m tests.bench.instructions --update`."""
    ceiling = Ceiling.read()
    if python() not in ceiling.instructions:
        pytest.skip(f"there is no ceiling for {python()}")
    assert ceiling.exceeded(count(INSTRUCTIONS), python()) == []
