"""Tokens of service accounts: asked for when they are needed, once for all who need one, and not kept beyond their time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agent.caller import REMEMBERED_BYTES
from agent.upstream.accounts import ServiceAccount, parse_accounts
from agent.upstream.posting import NotCreated
from agent.upstream.tokens import (
    CACHED_ACCOUNTS,
    LONGEST_SECONDS,
    AccountToken,
    AccountTokens,
    IssuedToken,
    TokenIssuer,
)
from tests.unit.fakes import Clock, settle
from tunnel.core.errors import BadGateway, Forbidden, Refusal, TooManyRequests, Unavailable
from tunnel.core.identity import Identity
from tunnel.kit.document import RulesFile

ALICE = ServiceAccount("shop", "alice")


class Office:
    """Issues tokens when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[ServiceAccount, asyncio.Future[IssuedToken]]] = []

    async def issue(self, account: ServiceAccount) -> IssuedToken:
        answer: asyncio.Future[IssuedToken] = asyncio.get_running_loop().create_future()
        self.asked.append((account, answer))
        return await answer

    async def answer(self, token: str = "t-1", seconds: float = 1000) -> None:
        self.asked[-1][1].set_result(IssuedToken(token.encode(), seconds))
        await settle()

    async def refuse(self, refusal: Refusal) -> None:
        self.asked[-1][1].set_exception(refusal)
        await settle()


class Bearer:
    """A user of one account's token, and whoever waits for it."""

    def __init__(self) -> None:
        self.office = Office()
        self.token = AccountToken(ALICE, self.office.issue)
        self._loop = asyncio.get_running_loop()

    @property
    def ready(self) -> bool:
        return self.token.ready(self._loop.time())

    @property
    def sent(self) -> bytes:
        ((_, value),) = self.token.fields(self._loop.time())
        return value

    async def wait(self, count: int = 1) -> list["asyncio.Task[None]"]:
        waiting = [self._loop.create_task(self.token.renew()) for _ in range(count)]
        await settle()
        return waiting


@pytest.fixture
async def bearer(clock: Clock) -> Bearer:
    return Bearer()


# One account -------------------------------------------------------------------------------------


async def test_a_token_is_used_for_four_fifths_of_its_life(bearer: Bearer, clock: Clock) -> None:
    assert not bearer.ready
    await bearer.wait()
    await bearer.office.answer("t-1", seconds=1000)
    assert (bearer.ready, bearer.sent) == (True, b"Bearer t-1")
    await clock.advance(799)
    assert bearer.ready
    await clock.advance(1)
    assert not bearer.ready


async def test_its_life_begins_when_it_was_asked_for(bearer: Bearer, clock: Clock) -> None:
    await bearer.wait()
    await clock.advance(100)
    await bearer.office.answer(seconds=1000)
    await clock.advance(700)
    assert not bearer.ready


async def test_whoever_needs_it_meanwhile_waits_for_the_same_question(bearer: Bearer) -> None:
    waiting = await bearer.wait(5)
    assert len(bearer.office.asked) == 1
    await bearer.office.answer()
    assert all(task.done() and task.exception() is None for task in waiting)


async def test_a_refusal_is_everybodys_who_waited_and_the_next_one_asks_again(bearer: Bearer) -> None:
    waiting = await bearer.wait(3)
    await bearer.office.refuse(Forbidden("not you"))
    assert [str(task.exception()) for task in waiting] == ["not you"] * 3
    (again,) = await bearer.wait()
    assert len(bearer.office.asked) == 2
    await bearer.office.answer()
    assert again.exception() is None


async def test_a_token_that_ages_is_used_while_no_newer_one_can_be_had(bearer: Bearer, clock: Clock) -> None:
    await bearer.wait()
    await bearer.office.answer(seconds=1000)
    await clock.advance(850)
    (waiting,) = await bearer.wait()
    await bearer.office.refuse(BadGateway("gone"))
    assert waiting.exception() is None
    assert bearer.sent == b"Bearer t-1"
    await clock.advance(140)
    (waiting,) = await bearer.wait()
    await bearer.office.refuse(BadGateway("gone"))
    assert str(waiting.exception()) == "gone"


async def test_a_fresh_token_that_was_refused_is_not_used_again(bearer: Bearer) -> None:
    await bearer.wait()
    await bearer.office.answer()
    (waiting,) = await bearer.wait()
    await bearer.office.refuse(BadGateway("gone"))
    assert isinstance(waiting.exception(), BadGateway)


async def test_when_whoever_asks_is_cancelled_the_others_do_not_wait_for_ever(bearer: Bearer) -> None:
    first, second = await bearer.wait(2)
    first.cancel()
    await settle()
    assert isinstance(second.exception(), Unavailable)


async def test_when_one_who_waits_is_cancelled_the_others_get_their_token(bearer: Bearer) -> None:
    first, second, third = await bearer.wait(3)
    second.cancel()
    await bearer.office.answer()
    assert (first.exception(), third.exception(), second.cancelled()) == (None, None, True)


# All accounts ------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "accounts.yaml"
    path.write_text("accounts: [{users: [alice, anna], serviceAccount: shop/alice}]")
    return path


def tokens_of(path: Path) -> AccountTokens:
    return AccountTokens(RulesFile(path, parse_accounts, "--accounts", interval_seconds=0.0), Office().issue)


async def test_users_of_one_account_share_its_token(path: Path) -> None:
    tokens = tokens_of(path)
    assert tokens.of(Identity("alice")) is tokens.of(Identity("anna", ("x",)))
    assert tokens.of(Identity("alice")).account == ALICE


async def test_whom_no_rule_names_is_refused(path: Path) -> None:
    with pytest.raises(Forbidden, match="maps neither the user 'eve' nor any group"):
        tokens_of(path).of(Identity("eve"))


async def test_changed_rules_hold_from_the_next_request_and_keep_the_tokens_that_are_still_named(
    path: Path,
) -> None:
    tokens = tokens_of(path)
    before = tokens.of(Identity("alice"))
    path.write_text(
        "accounts: [{users: [alice], serviceAccount: shop/other}, {users: [bob], serviceAccount: shop/alice}]"
    )
    assert str(tokens.of(Identity("alice")).account) == "shop/other"
    assert tokens.of(Identity("bob")) is before
    path.write_text("accounts: [{users: [bob], serviceAccount: shop/bob}]")
    with pytest.raises(Forbidden):
        tokens.of(Identity("alice"))
    assert [str(account) for account in tokens._tokens] == []


async def test_it_remembers_only_so_many(path: Path) -> None:
    rules = [
        f"{{users: ['u{number}', 'v{number}-*'], serviceAccount: a/b{number}}}"
        for number in range(CACHED_ACCOUNTS + 2)
    ]
    path.write_text(f"accounts: [{', '.join(rules)}]")
    tokens = tokens_of(path)
    tokens._file._files._interval = 1e9
    for number in range(CACHED_ACCOUNTS + 2):
        tokens.of(Identity(f"u{number}"))
    assert len(tokens._tokens) == CACHED_ACCOUNTS
    for number in range(5000):
        tokens.of(Identity(f"v7-{number}"))
    assert len(tokens._decided) <= 4096


async def test_it_does_not_remember_large_users(path: Path) -> None:
    path.write_text("accounts: [{users: [alice], serviceAccount: shop/alice}]")
    tokens = tokens_of(path)
    tokens.of(Identity("alice", ("g" * REMEMBERED_BYTES,)))
    assert not tokens._decided
    tokens.of(Identity("alice"))
    assert len(tokens._decided) == 1


# Asking the apiserver ----------------------------------------------------------------------------

CREATED: dict[str, Any] = {"spec": {"expirationSeconds": 600}, "status": {"token": "abc.def"}}


class Cluster:
    """Answers as a test says."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[tuple[str, object]] = []

    async def create(self, path: str, body: object, what: str) -> Any:
        self.asked.append((path, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_a_token_is_asked_for_an_hour_and_has_the_life_that_it_was_given() -> None:
    cluster = Cluster(CREATED)
    issued = await TokenIssuer(cluster).issue(ALICE)
    assert issued == IssuedToken(b"abc.def", 600.0)
    assert "abc" not in repr(issued)
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    assert cluster.asked == [("/api/v1/namespaces/shop/serviceaccounts/alice/token", body)]


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (NotCreated(403), Forbidden, "grant it create on serviceaccounts/token"),
        (NotCreated(404), Forbidden, "shop/alice, which you are to act as, does not exist"),
        (NotCreated(429), TooManyRequests, "too much to do"),
        (NotCreated(401), BadGateway, "answered 401"),
        (NotCreated(200), BadGateway, "answered 200"),
        (NotCreated(500), BadGateway, "shop/alice cannot be had: the apiserver answered 500"),
        (BadGateway("gone"), BadGateway, "gone"),
    ],
)
async def test_what_the_apiserver_refuses_is_said_to_the_user(
    fault: Exception, kind: type[Refusal], words: str
) -> None:
    with pytest.raises(kind, match=words):
        await TokenIssuer(Cluster(fault)).issue(ALICE)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {"status": {"token": "abc"}},
        {"spec": {"expirationSeconds": 600}},
        {"spec": {"expirationSeconds": 0}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": "x"}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": float("nan")}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": -(10**400)}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": 600}, "status": {"token": "two words"}},
        {"spec": {"expirationSeconds": 600}, "status": {"token": 7}},
    ],
)
async def test_an_answer_that_is_no_token_is_the_apiservers_fault(answer: object) -> None:
    with pytest.raises(BadGateway):
        await TokenIssuer(Cluster(answer)).issue(ALICE)


async def test_a_life_that_no_number_of_the_machine_can_hold_is_taken_for_the_longest() -> None:
    answer = {"spec": {"expirationSeconds": 10**400}, "status": {"token": "abc"}}
    assert (await TokenIssuer(Cluster(answer)).issue(ALICE)).seconds == LONGEST_SECONDS
