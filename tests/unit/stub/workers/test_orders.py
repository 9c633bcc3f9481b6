"""What each worker of a stub is told to do."""

import pickle
import socket
from dataclasses import fields
from pathlib import Path

import pytest

from stub.settings import StubSettings
from stub.workers.orders import SHARED_LIMITS, Orders
from tunnel.aio.workers.seat import Seat, share
from tunnel.core.identifiers import ClusterId
from tunnel.kit.failures import UsageError
from tunnel.kit.values import Address


def orders(**settings: object) -> Orders:
    own = StubSettings(ca_dir=Path("ca"), workers=3, **settings)  # type: ignore[arg-type]
    return Orders(own, Address("127.0.0.1", 8443), None, "instance", None)


def seat(number: int = 1) -> Seat:
    return Seat(number, 3, socket.socket.__new__(socket.socket))


@pytest.mark.parametrize(("limit", "part"), [(0, 0), (1, 1), (9, 3), (10, 4)])
def test_a_workers_part_of_a_limit_is_rounded_up_and_none_stays_none(limit: int, part: int) -> None:
    assert share(limit, 3) == part


def test_limits_of_the_whole_stub_are_divided_among_its_workers() -> None:
    own = orders(max_requests_per_user=30, max_connections=300, max_requests_per_cluster=0).settings_of(
        seat()
    )
    assert (own.max_requests_per_user, own.max_connections, own.max_requests_per_cluster) == (10, 100, 0)


def test_every_limit_on_how_much_at_once_is_shared() -> None:
    limits = {field.name for field in fields(StubSettings) if field.name.startswith("max_")}
    each_has = {"max_sessions_per_cluster"}  # an agent's session with each worker
    assert set(SHARED_LIMITS) == (limits - each_has) | {"signing_attempts"}


def test_what_only_one_process_can_have_is_the_parents() -> None:
    own = orders(control=Path("/run/stub.sock"), listen=Address("127.0.0.1", 0)).settings_of(seat(2))
    assert own.admin_listen is None
    assert own.control == Path("/run/stub.sock.2")
    assert own.listen == Address("127.0.0.1", 8443), "with the real port"


def test_they_travel_to_another_process() -> None:
    given = orders(audit="audit.log")
    assert pickle.loads(pickle.dumps(given)) == given


def test_slots_and_workers_exclude_each_other() -> None:
    """Two workers could send one slot's users to two clusters."""
    slot = (ClusterId("prod"), (ClusterId("east"), ClusterId("west")))
    with pytest.raises(UsageError, match="--slot needs --workers 1"):
        orders(slot=(slot,))
