"""Schedules made from a number: the same number, the same schedule."""

from collections.abc import Callable
from math import inf
from random import Random

from tests.unit.stub.election.simulation import Fate, ProcessPlan, Schedule

SLOWEST, FASTEST = 0.84, 1.2
"""Clocks' speeds: 15 s on the fastest are longer than 10 s on the slowest, by 5 %."""

ANSWER_SECONDS = 2.0
"""How long an answer takes at most where the election has to succeed."""

CALM_SECONDS = 10.0
"""Before the record is deleted, every process has seen it: one that never did may create it at once, beside a holder that
does not know yet. Nothing protects against that."""

Moments = tuple[tuple[float, float], ...]
ALWAYS: Moments = ((0.0, inf),)


def hostile(seed: int) -> Schedule:
    """Anything may happen: skewed clocks, pauses at any point, partitions, conflicts, lost and late answers, late writes."""
    random = Random(seed)
    seconds = 60.0
    deletion = random.random() < 0.15
    count = random.choice([2, 2, 3])
    processes = tuple(_hostile_process(random, seconds, seen_by_all=deletion) for _ in range(count))
    touched = _moments(random, seconds, random.choice([0, 0, 0, 1, 4]))
    deleted = (random.uniform(CALM_SECONDS, seconds),) if deletion else ()
    return Schedule(processes, seconds, seed, touched_at=touched, deleted_at=deleted)


def _hostile_process(random: Random, seconds: float, *, seen_by_all: bool) -> ProcessPlan:
    scale = random.choice([0.01, 0.3, 1.0, 1.0, 3.0])
    failing = random.choice([0.0, 0.05, 0.2, 0.6])
    partitions = _windows(random, seconds, random.choice([0, 0, 1, 2]), 25.0)
    pauses = _windows(random, seconds, random.choice([0, 1, 1, 3]), random.choice([3.0, 15.0, 40.0]))
    ends = random.random()
    calm_until = CALM_SECONDS if seen_by_all else 0.0

    def fate(now: float) -> Fate:
        if now < calm_until:
            return Fate(random.random() * 0.3, random.random() * 0.3)
        cut = any(start <= now < end for start, end in partitions)
        late = random.uniform(0, 25) if random.random() < 0.03 else 0.0
        to_store = random.random() * scale + late
        if cut or random.random() < failing:
            answered = random.random() < 0.5 and not cut
            back = random.random() * scale if answered else inf
            return Fate(to_store, back, takes_effect=random.random() < 0.5, is_error=True)
        return Fate(to_store, random.random() * scale)

    def watch_delay() -> float:
        chance = random.random()
        return inf if chance < 0.1 else random.uniform(0, 20) if chance < 0.2 else random.random() * scale

    return ProcessPlan(
        offset=random.uniform(-1e6, 1e6),
        speed=random.choice([1.0, 1.0, SLOWEST, FASTEST, random.uniform(SLOWEST, FASTEST)]),
        wall_skew=random.uniform(-600, 600),
        starts_at=0.0 if seen_by_all else random.choice([0.0, 0.0, random.uniform(0, seconds / 2)]),
        watches=random.random() < 0.5,
        pauses=tuple(pause for pause in pauses if pause[0] >= calm_until),
        killed_at=random.uniform(0, seconds) if ends < 0.15 else inf,
        stopped_at=random.uniform(0, seconds) if ends > 0.8 else inf,
        fate=fate,
        watch_delay=watch_delay,
        defers=_windows(random, seconds, random.choice([0, 0, 1, 3]), 30.0),
    )


def fair(seed: int) -> Schedule:
    """No two consecutive calls of a process fail, each answers within 2 s, and one process at least lives on."""
    random = Random(seed)
    seconds = 90.0
    count = random.choice([2, 3])
    ends = [_end(random, seconds) if number else (inf, inf) for number in range(count)]
    scale = random.choice([0.05, 0.5, 1.0]) * ANSWER_SECONDS / 2
    failing = random.choice([0.0, 0.2, 0.6, 1.0])
    return Schedule(
        tuple(_fair_process(random, scale, failing, *end) for end in ends),
        seconds,
        seed,
        touched_at=_moments(random, seconds, random.choice([0, 0, 2])),
    )


def _end(random: Random, seconds: float) -> tuple[float, float]:
    moment = random.uniform(0, seconds)
    return random.choice([(moment, inf), (inf, moment), (inf, inf)])


def _fair_process(
    random: Random, scale: float, failing: float, killed_at: float, stopped_at: float
) -> ProcessPlan:
    return ProcessPlan(
        offset=random.uniform(-1e6, 1e6),
        speed=random.uniform(0.999, 1.001),
        wall_skew=random.uniform(-600, 600),
        starts_at=random.uniform(0, 1),
        watches=random.random() < 0.5,
        pauses=(),
        killed_at=killed_at,
        stopped_at=stopped_at,
        fate=_fair_fate(random, scale, failing),
        watch_delay=lambda: random.random() * scale,
        defers=random.choice([(), ALWAYS, _windows(random, 90.0, 3, 30.0)]),
    )


def _fair_fate(random: Random, scale: float, failing: float) -> Callable[[float], Fate]:
    failed = False

    def fate(now: float) -> Fate:
        nonlocal failed
        to_store, back = random.random() * scale, random.random() * scale
        failed = not failed and random.random() < failing
        if not failed:
            return Fate(to_store, back)
        lost = random.random() < 0.3
        return Fate(to_store, inf if lost else back, takes_effect=random.random() < 0.5, is_error=True)

    return fate


def calm(seed: int, *, crash: bool, watches: bool = True, deferring: tuple[int, ...] = ()) -> Schedule:
    """Three processes and a quick store; the first, which holds the lease, crashes or stops after half a minute. Some of the
    others had rather not follow."""
    random = Random(seed)
    moment = random.uniform(25, 35)
    return Schedule(
        tuple(
            ProcessPlan(
                offset=random.uniform(-1e6, 1e6),
                speed=1.0,
                wall_skew=random.uniform(-600, 600),
                starts_at=float(number),
                watches=watches,
                pauses=(),
                killed_at=moment if crash and not number else inf,
                stopped_at=inf if crash or number else moment,
                fate=lambda now: Fate(random.random() * 0.025, random.random() * 0.025),
                watch_delay=lambda: random.random() * 0.05,
                defers=ALWAYS if number in deferring else (),
            )
            for number in range(3)
        ),
        70.0,
        seed,
    )


def _moments(random: Random, seconds: float, count: int) -> tuple[float, ...]:
    return tuple(random.uniform(0, seconds) for _ in range(count))


def _windows(random: Random, seconds: float, count: int, longest: float) -> Moments:
    starts = _moments(random, seconds, count)
    return tuple((start, start + random.uniform(0, longest)) for start in starts)
