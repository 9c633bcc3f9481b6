"""Tokens of service accounts: asked for when they are needed, once for all who need one, and not kept beyond their time."""

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from agent.upstream.accounts import ServiceAccount, parse_accounts
from agent.upstream.credential import Credential, StaticToken
from agent.upstream.posting import Poster
from agent.upstream.target import UpstreamTarget
from agent.upstream.tokens import CACHED_ACCOUNTS, AccountToken, AccountTokens, IssuedToken, TokenIssuer
from tests.unit.agent.parts import Apiserver, Upstreams
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


# Asking the apiserver ----------------------------------------------------------------------------

CREATED = {"spec": {"expirationSeconds": 600}, "status": {"token": "abc.def"}}


class Asking:
    """A token that is being asked for."""

    def __init__(self, credential: Credential | None = None) -> None:
        self.upstreams = Upstreams()
        own = credential or StaticToken("agents-own")
        target = UpstreamTarget("10.0.0.1", 6443, b"10.0.0.1:6443", b"/k8s", None, "10.0.0.1", own)
        issuer = TokenIssuer(Poster(target, cast("Any", self.upstreams)))
        self.task = asyncio.get_running_loop().create_task(issuer.issue(ALICE))

    async def connected(self) -> Apiserver:
        await settle()
        return self.upstreams.give()

    async def answer(self, status: int, body: object = CREATED) -> None:
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        (await self.connected()).answer(
            b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text)
        )
        await settle()


@pytest.fixture
async def asking(clock: Clock) -> Asking:
    return Asking()


async def test_the_agents_own_credential_asks_for_an_hour(asking: Asking) -> None:
    far = await asking.connected()
    head, _, body = far.taken().partition(b"\r\n\r\n")
    assert head == (
        b"POST /k8s/api/v1/namespaces/shop/serviceaccounts/alice/token HTTP/1.1\r\nHost: 10.0.0.1:6443\r\n"
        b"Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: %d\r\n"
        b"User-Agent: cluster-tunnel-agent\r\nAuthorization: Bearer agents-own" % len(body)
    )
    assert json.loads(body) == {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    }
    text = json.dumps(CREATED).encode()
    far.answer(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))
    assert await asking.task == IssuedToken(b"abc.def", 600.0)


async def test_a_token_is_in_no_text(asking: Asking) -> None:
    await asking.answer(201)
    assert "abc" not in repr(await asking.task)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (403, Forbidden, "grant it create on serviceaccounts/token"),
        (404, Forbidden, "does not exist"),
        (429, TooManyRequests, "too much to do"),
        (401, BadGateway, "answered 401"),
        (200, BadGateway, "answered 200"),
        (500, BadGateway, "answered 500"),
    ],
)
async def test_what_the_apiserver_refuses_is_said_to_the_user(
    asking: Asking, status: int, kind: type[Refusal], words: str
) -> None:
    await asking.answer(status)
    with pytest.raises(kind, match=words) as caught:
        await asking.task
    assert "shop/alice" in str(caught.value) or status == 429


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        {"status": {"token": "abc"}},
        {"spec": {"expirationSeconds": 600}},
        {"spec": {"expirationSeconds": 0}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": "x"}, "status": {"token": "abc"}},
        {"spec": {"expirationSeconds": 600}, "status": {"token": "two words"}},
        {"spec": {"expirationSeconds": 600}, "status": {"token": 7}},
    ],
)
async def test_an_answer_that_is_no_token_is_the_apiservers_fault(asking: Asking, body: object) -> None:
    await asking.answer(201, body)
    with pytest.raises(BadGateway):
        await asking.task


async def test_where_all_connections_are_in_use_the_user_is_asked_to_come_again(asking: Asking) -> None:
    await settle()
    asking.upstreams.refuse(TooManyRequests("all are in use"))
    with pytest.raises(TooManyRequests) as caught:
        await asking.task
    assert caught.value.retry_after == 1


async def test_a_silent_apiserver_is_given_up(asking: Asking, clock: Clock) -> None:
    await asking.connected()
    await clock.advance(10)
    with pytest.raises(BadGateway, match="did not answer within 10 s"):
        await asking.task


class Renewable(StaticToken):
    can_renew = True

    async def renew(self) -> None:
        self._fields = [(b"Authorization", b"Bearer newer")]


async def test_a_401_renews_the_agents_own_credential_once(clock: Clock) -> None:
    asking = Asking(Renewable("old"))
    await asking.answer(401)
    far = await asking.connected()
    assert b"Bearer newer" in far.taken()
    far.answer(b"HTTP/1.1 401 X\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(BadGateway, match="answered 401"):
        await asking.task
