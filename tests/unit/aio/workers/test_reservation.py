"""A port for several processes."""

import socket
from collections.abc import Iterator

import pytest

from tunnel.aio.workers.reservation import Reservation
from tunnel.kit.failures import CommandFailed
from tunnel.kit.values import Address


@pytest.fixture
def reservation() -> Iterator[Reservation]:
    reservation = Reservation("--listen", Address("127.0.0.1", 0))
    yield reservation
    reservation.close()


def test_workers_can_listen_on_it_side_by_side(reservation: Reservation) -> None:
    where = (reservation.address.host, reservation.address.port)
    with socket.create_server(where, reuse_port=True), socket.create_server(where, reuse_port=True):
        assert where[1] != 0


def test_it_takes_no_connections_itself(reservation: Reservation) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((reservation.address.host, reservation.address.port))


def test_nobody_else_gets_it_by_chance(reservation: Reservation) -> None:
    with pytest.raises(OSError, match="in use"):
        socket.create_server((reservation.address.host, reservation.address.port))


def test_what_another_stubs_workers_share_is_refused_with_its_flag() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as other:
        address = Address("127.0.0.1", other.getsockname()[1])
        with pytest.raises(CommandFailed, match=rf"--agent-listen {address}: Address already in use"):
            Reservation("--agent-listen", address)


def test_a_name_that_does_not_exist_is_one_clear_line() -> None:
    with pytest.raises(CommandFailed, match=r"--listen no\.such\.invalid:1: "):
        Reservation("--listen", Address("no.such.invalid", 1))


def test_every_family_gets_the_same_port() -> None:
    reservation = Reservation("--listen", Address("", 0))
    bound = {each.getsockname()[1] for each in reservation.sockets}
    assert bound == {reservation.address.port}
    reservation.close()
