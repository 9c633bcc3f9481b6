"""The sampling profiler."""

import hashlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tunnel.kit.failures import CommandFailed
from tunnel.kit.sampling import FunctionCost, Profile, Sampler, by_function, collapsed, table

PROFILE = Profile(
    2.0,
    40,
    {
        ("MainThread", "app:main", "app:serve", "app:parse"): 300_000,
        ("MainThread", "app:main", "app:serve"): 100_000,
        ("MainThread", "app:main", "app:walk", "app:walk"): 500_000,
        ("logs", "app:write"): 100_000,
    },
)


def spend(seconds: float) -> None:
    """Use CPU time, whatever else the machine does."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def much() -> None:
    spend(0.3)


def little() -> None:
    spend(0.1)


@pytest.fixture
def sampler() -> Iterator[Callable[[], Sampler]]:
    """Starts samplers, and stops the one that a failed test leaves."""

    def start() -> Sampler:
        sampler = Sampler(200)
        sampler.start()
        return sampler

    yield start
    if Sampler._running is not None:
        Sampler._running.stop()


Start = Callable[[], Sampler]


def cost(profile: Profile, function: str) -> float:
    """The seconds spent in a function of this file, and in what it called."""
    (found,) = (each.total for each in by_function(profile) if each.name == f"{__name__}:{function}")
    return found / 1e6


# Looking -------------------------------------------------------------------------------------------


def test_a_function_is_charged_with_the_cpu_time_that_it_took(sampler: Start) -> None:
    running = sampler()
    much()
    little()
    profile = running.stop()
    assert 0.2 < cost(profile, "much") < 0.4
    assert 0.03 < cost(profile, "little") < 0.2


def test_waiting_costs_nothing(sampler: Start) -> None:
    running = sampler()
    little()
    threading.Event().wait(0.1)
    profile = running.stop()
    assert profile.seconds > 0.19
    assert profile.cpu_seconds < 0.18


def test_another_thread_has_stacks_of_its_own_and_one_that_waits_has_none(sampler: Start) -> None:
    ended = threading.Event()
    idle = threading.Thread(target=ended.wait, name="idle")
    # Hashing gives the interpreter's lock away: the main thread must be able to look.
    busy = threading.Thread(target=lambda: [hashlib.sha256(bytes(2**22)) for _ in range(60)], name="busy")
    idle.start()
    running = sampler()
    busy.start()
    busy_until = time.monotonic() + 10
    while busy.is_alive() and time.monotonic() < busy_until:
        spend(0.01)
    profile = running.stop()
    ended.set()
    idle.join()
    seen = Counter[str]()
    for stack, samples in profile.stacks.items():
        seen[stack[0]] += samples
    assert {"MainThread", "busy"} <= seen.keys()
    assert seen["idle"] * 10 < seen["busy"]  # on its way into the wait at most


def test_only_one_profile_is_taken_at_a_time(sampler: Start) -> None:
    running = sampler()
    with pytest.raises(CommandFailed, match="already"):
        sampler()
    running.stop()
    sampler().stop()


def test_a_signal_that_comes_late_does_not_end_the_process(sampler: Start) -> None:
    profile = sampler().stop()
    os.kill(os.getpid(), signal.SIGPROF)
    assert profile.samples == 0


# Showing -------------------------------------------------------------------------------------------


def test_collapsed_stacks_are_one_line_each_with_their_microseconds() -> None:
    assert collapsed(PROFILE).splitlines() == [
        "MainThread;app:main;app:serve 100000",
        "MainThread;app:main;app:serve;app:parse 300000",
        "MainThread;app:main;app:walk;app:walk 500000",
        "logs;app:write 100000",
    ]


def test_functions_are_sorted_by_their_own_time_and_one_that_calls_itself_is_charged_once() -> None:
    assert by_function(PROFILE)[:4] == [
        FunctionCost("app:walk", 500_000, 500_000),
        FunctionCost("app:parse", 300_000, 300_000),
        FunctionCost("app:serve", 100_000, 400_000),
        FunctionCost("app:write", 100_000, 100_000),
    ]


def test_the_table_lines_up_and_sums_up_what_it_leaves_out() -> None:
    assert list(table(PROFILE, rows=3)) == [
        "  own %  total %  function",
        "  50.0%    50.0%  app:walk",
        "  30.0%    30.0%  app:parse",
        "  10.0%    40.0%  app:serve",
        "  10.0%           2 more",
    ]


def test_a_process_that_did_nothing_has_an_empty_table() -> None:
    assert list(table(Profile(1.0, 0, {}))) == ["  own %  total %  function"]
