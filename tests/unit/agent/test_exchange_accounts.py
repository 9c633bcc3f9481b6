"""Requests of users that act as service accounts: each waits for its account's token, and for nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.upstream.accounts import ServiceAccount, parse_accounts
from agent.upstream.tokens import AccountTokens, IssuedToken
from tests.unit.agent.parts import Agent, head_of, request, upload
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import Forbidden, Refusal
from tunnel.kit.document import RulesFile

ALICE, BOB, EVE = b"user\0alice", b"user\0bob", b"user\0eve"
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}"
FILE = "accounts: [{users: [alice], serviceAccount: ns/a}, {users: [bob], serviceAccount: ns/b}]"


class Office:
    """Issues numbered tokens, at once or when the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.open = asyncio.Event()
        self.open.set()
        self.refusal: Refusal | None = None

    async def issue(self, account: ServiceAccount) -> IssuedToken:
        self.asked.append(str(account))
        token = f"{account.name}-{len(self.asked)}"
        await self.open.wait()
        if self.refusal is not None:
            raise self.refusal
        return IssuedToken(token.encode(), 1000)


class Stage:
    """An agent in mode tokenrequest."""

    def __init__(self, path: Path, tasks: asyncio.TaskGroup) -> None:
        self.office = Office()
        path.write_text(FILE)
        accounts = AccountTokens(RulesFile(path, parse_accounts, "--accounts"), self.office.issue)
        self.agent = Agent(tasks=tasks, accounts=accounts).connect()
        self.channel = self.agent.channels.add()

    async def ask(self, number: int, caller: bytes = ALICE) -> None:
        self.agent.ask(request(number, caller=caller))
        await settle()


@pytest.fixture
async def stage(clock: Clock, tmp_path: Path) -> AsyncIterator[Stage]:
    async with asyncio.TaskGroup() as tasks:
        yield Stage(tmp_path / "accounts.yaml", tasks)


async def test_a_request_shows_its_accounts_token_and_nobodys_name(stage: Stage) -> None:
    await stage.ask(1)
    sent = stage.agent.upstreams.give().taken()
    assert b"\r\nAuthorization: Bearer a-1\r\n" in sent
    assert b"Impersonate" not in sent
    assert b"token-1" not in sent


async def test_the_next_request_need_not_wait(stage: Stage) -> None:
    await stage.ask(1)
    stage.agent.upstreams.give().ok()
    stage.office.open.clear()
    stage.agent.ask(request(2, caller=ALICE))
    assert b"Bearer a-1" in stage.agent.upstreams.give().taken()
    assert stage.office.asked == ["ns/a"]


async def test_while_one_waits_for_its_token_all_others_go_on(stage: Stage) -> None:
    await stage.ask(1, BOB)
    bob = stage.agent.upstreams.give()
    bob.ok()
    stage.office.open.clear()
    await stage.ask(2, ALICE)
    assert not stage.agent.upstreams.borrowers
    await stage.ask(3, BOB)
    assert b"Bearer b-1" in stage.agent.upstreams.give().taken()[-200:]
    stage.office.open.set()
    await settle()
    assert b"Bearer a-2" in stage.agent.upstreams.give().taken()


async def test_a_burst_of_one_accounts_requests_asks_for_one_token(stage: Stage) -> None:
    stage.office.open.clear()
    for number in range(1, 6):
        await stage.ask(number)
    stage.office.open.set()
    await settle()
    assert stage.office.asked == ["ns/a"]
    assert len(stage.agent.upstreams.borrowers) == 5


async def test_a_body_that_streams_meanwhile_is_kept_and_its_window_stays_closed(stage: Stage) -> None:
    stage.office.open.clear()
    asked = upload(1, length=4)
    asked.caller = ALICE
    stage.agent.ask(asked)
    before = stage.agent.room
    stage.agent.send(1, b"body")
    await settle()
    assert stage.agent.room < before
    stage.office.open.set()
    await settle()
    assert stage.agent.upstreams.give().taken().endswith(b"\r\n\r\nbody")


async def test_whom_no_rule_names_is_refused_before_anything_is_asked(stage: Stage) -> None:
    await stage.ask(1, EVE)
    assert stage.agent.refused() == [(1, 403, False)]
    assert stage.office.asked == []


async def test_a_token_that_cannot_be_had_costs_its_requests_alone(stage: Stage) -> None:
    stage.office.refusal = Forbidden("the agent may not make tokens")
    await stage.ask(1)
    assert stage.agent.refused() == [(1, 403, False)]
    assert stage.agent.link.in_flight == 0
    stage.office.refusal = None
    await stage.ask(2, BOB)
    assert len(stage.agent.upstreams.borrowers) == 1


async def test_a_401_gets_a_newer_token_and_asks_once_more(stage: Stage) -> None:
    await stage.ask(1)
    stage.agent.upstreams.give().answer(UNAUTHORIZED)
    await settle()
    second = stage.agent.upstreams.give()
    assert b"Bearer a-2" in second.taken()
    second.answer(UNAUTHORIZED)
    assert head_of(stage.channel.heard()).response.status == 401
    assert stage.office.asked == ["ns/a", "ns/a"]


async def test_a_request_cancelled_while_it_waits_is_not_asked(stage: Stage) -> None:
    stage.office.open.clear()
    await stage.ask(1)
    stage.agent.cancel(1)
    stage.office.open.set()
    await settle()
    assert not stage.agent.upstreams.borrowers
    assert stage.agent.link.in_flight == 0
