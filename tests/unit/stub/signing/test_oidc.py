"""Signing in by id-token: the issuer's keys, and who a token is of."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from stub.signing import oidc as module
from stub.signing.oidc import (
    AGAIN_SECONDS,
    DISCOVERY,
    KEYS_SECONDS,
    RETRY_SECONDS,
    FetchFailed,
    Issuer,
    OidcRules,
    claimed_identity,
)
from tests.unit.certs.id_tokens import IssuerKey
from tests.unit.fakes import settle
from tunnel.core.errors import Forbidden, Unauthorized, Unavailable
from tunnel.core.identity import Identity

URL = "https://issuer.test/realm"
RULES = OidcRules(URL, ("kubectl",), username_prefix="oidc:", groups_prefix="oidc:")
KEY = IssuerKey("one")


class Provider:
    """An issuer's documents; `asked` are the URLs that were fetched."""

    def __init__(self, *keys: IssuerKey) -> None:
        self.keys = list(keys)
        self.documents: dict[str, Any] = {
            URL + DISCOVERY: {"issuer": URL, "jwks_uri": "https://issuer.test/keys"}
        }
        self.asked: list[str] = []
        self.failure: str | None = None
        self.held: asyncio.Event | None = None

    async def fetch(self, url: str) -> object:
        self.asked.append(url)
        if self.held is not None:
            await self.held.wait()
        if self.failure is not None:
            raise FetchFailed(self.failure)
        if url == "https://issuer.test/keys":
            return {"keys": [key.public for key in self.keys]}
        return self.documents[url]


class Monotonic:
    """The monotonic clock in the test's hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Provider:
    return Provider(KEY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Monotonic:
    clock = Monotonic()
    monkeypatch.setattr(module, "_now", clock)
    return clock


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": URL, "aud": "kubectl", "exp": time.time() + 300, "sub": "alice", **more}


async def test_a_token_says_who_its_user_is_behind_the_prefixes(provider: Provider) -> None:
    issuer = Issuer(RULES, provider.fetch)
    identity = await issuer.identity(KEY.sign(claims(groups=["devs", "ops", "devs"])))
    assert identity == Identity("oidc:alice", ("oidc:devs", "oidc:ops"))


async def test_keys_are_found_once_and_kept_for_an_hour(provider: Provider, clock: Monotonic) -> None:
    issuer = Issuer(RULES, provider.fetch)
    for _ in range(3):
        await issuer.identity(KEY.sign(claims()))
    assert provider.asked == [URL + DISCOVERY, "https://issuer.test/keys"]


@asynccontextmanager
async def keeping(
    issuer: Issuer, clock: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[float]]:
    """Keep its keys while the block runs; yields how long was slept, in no time but for the last."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def advance(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 4:
            await asyncio.Event().wait()
        clock.now += seconds
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", lambda seconds: advance(seconds) if seconds else sleep(0))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(issuer.keep_keys())
        try:
            yield slept
        finally:
            task.cancel()


async def test_keys_are_renewed_every_hour_whether_somebody_signs_in_or_not(
    provider: Provider, clock: Monotonic, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = Issuer(RULES, provider.fetch)
    async with keeping(issuer, clock, monkeypatch) as slept:
        await settle()
    assert slept == [KEYS_SECONDS] * 4
    assert len(provider.asked) == 8
    assert (await issuer.identity(KEY.sign(claims()))).user == "oidc:alice"
    assert len(provider.asked) == 8


async def test_an_issuer_that_is_away_is_asked_again_each_minute_whatever_goes_wrong(
    provider: Provider, clock: Monotonic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del provider.documents[URL + DISCOVERY]  # a defect: KeyError
    async with keeping(Issuer(RULES, provider.fetch), clock, monkeypatch) as slept:
        await settle()
    assert slept == [RETRY_SECONDS] * 4
    assert "an issuer's keys cannot be kept" in caplog.text
    provider.failure = "no answer"
    async with keeping(Issuer(RULES, provider.fetch), clock, monkeypatch) as slept:
        await settle()
    assert slept == [RETRY_SECONDS] * 4


async def test_a_new_key_is_taken_up_when_a_token_names_it(provider: Provider, clock: Monotonic) -> None:
    issuer = Issuer(RULES, provider.fetch)
    await issuer.identity(KEY.sign(claims()))
    new = IssuerKey("two", "RS256")
    provider.keys = [new]
    clock.now += AGAIN_SECONDS
    assert (await issuer.identity(new.sign(claims()))).user == "oidc:alice"
    with pytest.raises(Unauthorized, match="a key that its issuer does not publish"):
        await issuer.identity(KEY.sign(claims()))


async def test_tokens_with_made_up_keys_do_not_become_questions_to_the_issuer(
    provider: Provider, clock: Monotonic
) -> None:
    issuer = Issuer(RULES, provider.fetch)
    await issuer.identity(KEY.sign(claims()))
    clock.now += AGAIN_SECONDS
    for number in range(20):
        with pytest.raises(Unauthorized, match="does not publish"):
            await issuer.identity(IssuerKey(f"made up {number}").sign(claims()))
    assert len(provider.asked) == 4


async def test_many_that_sign_in_at_once_ask_once(provider: Provider) -> None:
    provider.held = asyncio.Event()
    issuer = Issuer(RULES, provider.fetch)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(issuer.identity(KEY.sign(claims()))) for _ in range(5)]
        await settle()
        provider.held.set()
    assert [task.result().user for task in asking] == ["oidc:alice"] * 5
    assert len(provider.asked) == 2


async def test_an_issuer_that_does_not_answer_leaves_the_keys_in_force(
    provider: Provider, clock: Monotonic
) -> None:
    issuer = Issuer(RULES, provider.fetch)
    await issuer.identity(KEY.sign(claims()))
    provider.failure = "no answer"
    clock.now += KEYS_SECONDS + 1
    await issuer._keys.refresh()
    assert (await issuer.identity(KEY.sign(claims()))).user == "oidc:alice"


async def test_nobody_who_has_a_key_at_hand_waits_for_an_issuer_that_hangs(
    provider: Provider, clock: Monotonic
) -> None:
    issuer = Issuer(RULES, provider.fetch)
    await issuer.identity(KEY.sign(claims()))
    provider.held = asyncio.Event()
    clock.now += KEYS_SECONDS + 1
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(issuer._keys.refresh())
        signing_in = [tasks.create_task(issuer.identity(KEY.sign(claims()))) for _ in range(6)]
        await settle()
        assert [task.done() for task in signing_in] == [True] * 6
        provider.held.set()


async def test_who_waited_for_a_long_question_does_not_ask_it_anew(
    provider: Provider, clock: Monotonic
) -> None:
    """Six who came together would wait six times as long, one behind the other."""
    provider.failure, provider.held = "no answer", asyncio.Event()
    issuer = Issuer(RULES, provider.fetch)
    asking = [asyncio.ensure_future(issuer.identity(KEY.sign(claims()))) for _ in range(6)]
    await settle()
    clock.now += 2 * AGAIN_SECONDS
    provider.held.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(each) for each in outcomes] == [Unavailable] * 6
    assert len(provider.asked) == 1


async def test_without_keys_nobody_is_let_in_and_the_issuer_is_asked_again_later(
    provider: Provider, clock: Monotonic
) -> None:
    provider.failure = "no answer"
    issuer = Issuer(RULES, provider.fetch)
    for _ in range(3):
        with pytest.raises(Unavailable, match="cannot be asked for its keys: no answer"):
            await issuer.identity(KEY.sign(claims()))
    assert len(provider.asked) == 1
    provider.failure = None
    clock.now += AGAIN_SECONDS
    assert (await issuer.identity(KEY.sign(claims()))).user == "oidc:alice"


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other", "jwks_uri": "https://issuer.test/keys"},
        {"issuer": URL},
        [],
        {"issuer": URL, "jwks_uri": 5},
    ],
)
async def test_a_discovery_document_of_somebody_else_gives_no_keys(
    provider: Provider, document: object
) -> None:
    provider.documents[URL + DISCOVERY] = document
    with pytest.raises(Unavailable, match="discovery document"):
        await Issuer(RULES, provider.fetch).identity(KEY.sign(claims()))


async def test_a_token_that_is_not_for_here_costs_the_issuer_no_question(provider: Provider) -> None:
    issuer = Issuer(RULES, provider.fetch)
    for wrong in (claims(aud="other"), claims(exp=5), claims(iss="https://other")):
        with pytest.raises(Unauthorized, match="the id-token is refused: the token"):
            await issuer.identity(KEY.sign(wrong))
    with pytest.raises(Unauthorized, match="is not a signed JSON web token"):
        await issuer.identity("x")
    assert provider.asked == []


# Claims ----------------------------------------------------------------------------------------


def identity_of(rules: OidcRules = RULES, **values: Any) -> Identity:
    return claimed_identity({"sub": "alice", **values}, rules)


def test_claims_and_prefixes_are_what_the_operator_says() -> None:
    rules = OidcRules(URL, ("kubectl",), "email", "", "roles", "sso/")
    found = identity_of(rules, email="alice@example.com", email_verified=True, roles="dev", groups=["x"])
    assert found == Identity("alice@example.com", ("sso/dev",))
    assert identity_of(rules, email="alice@example.com").groups == ()


@pytest.mark.parametrize("value", [False, "true", None, 1])
def test_an_address_that_is_not_verified_is_nobody_s(value: object) -> None:
    rules = OidcRules(URL, ("kubectl",), "email")
    with pytest.raises(Forbidden, match="not verified"):
        identity_of(rules, email="alice@example.com", email_verified=value)


@pytest.mark.parametrize("sub", ["", None, 5, ["alice"]])
def test_a_token_without_a_name_is_nobody_s(sub: object) -> None:
    with pytest.raises(Forbidden, match="no claim sub with a name"):
        identity_of(sub=sub)


@pytest.mark.parametrize("groups", [{"devs": 1}, [5], [""], 5, None])
def test_groups_that_are_no_names_refuse_the_token(groups: object) -> None:
    """To leave one out would make another user of it."""
    with pytest.raises(Forbidden, match="groups is not a list of names"):
        identity_of(groups=groups)


def test_a_required_claim_must_have_its_value() -> None:
    rules = OidcRules(URL, ("kubectl",), required=(("hd", "example.com"),))
    assert identity_of(rules, hd="example.com").user == "alice"
    for value in ("example.org", None, ["example.com"]):
        with pytest.raises(Forbidden, match=r"claim hd is not 'example\.com'"):
            identity_of(rules, hd=value)
