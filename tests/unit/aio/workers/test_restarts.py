"""When a worker is started again, and when no more."""

from tunnel.aio.workers.restarts import DEATHS, WINDOW_SECONDS, GiveUp, Restart, Restarts


def restarts() -> Restarts:
    return Restarts(lambda: 1.0)


def test_the_first_death_costs_next_to_no_time_and_later_ones_ever_more() -> None:
    worker = restarts()
    decisions = [worker.died(now) for now in (100.0, 101.0, 103.0, 106.0)]
    assert decisions == [Restart(0.2), Restart(1.0), Restart(2.0), Restart(4.0)]


def test_a_worker_that_dies_again_and_again_is_given_up() -> None:
    worker = restarts()
    *before, last = [worker.died(100.0 + number * WINDOW_SECONDS / DEATHS) for number in range(DEATHS)]
    assert all(isinstance(decision, Restart) for decision in before)
    assert last == GiveUp(f"died {DEATHS} times within {WINDOW_SECONDS:.0f} s")
    assert worker.count == DEATHS


def test_deaths_far_apart_have_nothing_to_do_with_each_other() -> None:
    worker = restarts()
    decisions = [worker.died(number * (WINDOW_SECONDS + 1)) for number in range(2 * DEATHS)]
    assert decisions == [Restart(0.2)] * (2 * DEATHS)


def test_deaths_that_slip_out_of_the_window_do_not_count() -> None:
    worker = restarts()
    apart = WINDOW_SECONDS / (DEATHS - 1) + 1
    assert all(isinstance(worker.died(number * apart), Restart) for number in range(3 * DEATHS))
