"""A name, and the dialers of all addresses that it has."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from agent.dialling.address import RESOLVE_SECONDS, AddressDialer
from agent.dialling.endpoint import EndpointDialer
from agent.dialling.failures import DialFailures
from agent.dialling.road import Endpoint
from agent.dialling.roster import Roster
from tests.unit.fakes import Clock, settle
from tunnel.aio.errors import ResolveFailed
from tunnel.kit.values import Address

STUB = Address("stub.example.com", 8443)


class Names:
    """A resolver, in place of a road."""

    def __init__(self, *hosts: str) -> None:
        self.hosts = hosts
        self.asked = 0

    async def endpoints(self, stub: Address) -> tuple[Endpoint, ...]:
        assert stub == STUB
        self.asked += 1
        if not self.hosts:
            raise ResolveFailed(str(stub), "Name or service not known")
        return tuple(Endpoint(Address(host, stub.port), stub.host) for host in self.hosts)


class Dialer:
    """In place of an endpoint's."""

    def __init__(self, endpoint: Endpoint, on_failure: Callable[[], None]) -> None:
        self.host = endpoint.address.host
        self.fail = on_failure
        self.hurried = 0
        self.over = asyncio.Event()

    async def run(self) -> None:
        await self.over.wait()

    def retire(self) -> None:
        self.over.set()

    def hurry(self) -> None:
        self.hurried += 1


class Running:
    """An address that is dialled."""

    def __init__(self) -> None:
        self.names = Names("192.0.2.1", "192.0.2.2")
        self.made: list[Dialer] = []
        self.roster = Roster()
        failures = DialFailures(str(STUB), self.roster)
        self.dialer = AddressDialer(STUB, cast("Any", self.names), failures, self.make)

    def make(self, endpoint: Endpoint, on_failure: Callable[[], None]) -> EndpointDialer:
        self.made.append(Dialer(endpoint, on_failure))
        return cast("EndpointDialer", self.made[-1])

    @property
    def dialled(self) -> list[str]:
        return [each.host for each in self.made if not each.over.is_set()]


@pytest.fixture
async def running(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setattr(random, "random", lambda: 0.5)
    async with asyncio.TaskGroup() as tasks:
        running = Running()
        task = tasks.create_task(running.dialer.run())
        await settle()
        yield running
        running.dialer.stop()
        await settle()
        assert task.done()


async def test_every_address_of_a_name_is_dialled(running: Running) -> None:
    assert running.dialled == ["192.0.2.1", "192.0.2.2"]


async def test_the_name_is_resolved_again_and_what_is_new_is_dialled_and_what_is_gone_is_not(
    running: Running, clock: Clock
) -> None:
    running.names.hosts = ("192.0.2.2", "2001:db8::3")
    await clock.advance(RESOLVE_SECONDS)
    assert running.dialled == ["192.0.2.2", "2001:db8::3"]
    assert len(running.made) == 3


async def test_an_address_that_comes_back_is_dialled_again(running: Running, clock: Clock) -> None:
    running.names.hosts = ("192.0.2.2",)
    await clock.advance(RESOLVE_SECONDS)
    running.names.hosts = ("192.0.2.1", "192.0.2.2")
    await clock.advance(RESOLVE_SECONDS)
    assert running.dialled == ["192.0.2.2", "192.0.2.1"]


async def test_a_failure_lets_the_name_be_resolved_soon_and_once_for_many_failures(
    running: Running, clock: Clock
) -> None:
    for dialer in running.made:
        dialer.fail()
    await clock.advance(0.75)
    assert running.names.asked == 1
    await clock.advance(0.25)
    assert running.names.asked == 2


async def test_a_resolver_that_fails_takes_no_address_away_and_is_asked_again(
    running: Running, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    running.names.hosts = ()
    await clock.advance(RESOLVE_SECONDS)
    assert running.dialled == ["192.0.2.1", "192.0.2.2"]
    assert "a stub cannot be reached" in caplog.messages
    asked = running.names.asked
    await clock.advance(0.2)
    assert running.names.asked == asked + 1
    assert running.roster.counts.failed["resolve"] == running.names.asked - 1


async def test_hurry_resolves_and_dials_now(running: Running) -> None:
    running.dialer.hurry()
    await settle()
    assert running.names.asked == 2
    assert [each.hurried for each in running.made] == [1, 1]


async def test_a_stopped_one_dials_nothing_more(running: Running, clock: Clock) -> None:
    running.dialer.stop()
    await clock.advance(RESOLVE_SECONDS * 10)
    assert running.dialled == []
    assert running.names.asked == 1
