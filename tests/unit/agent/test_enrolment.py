"""Joining once and renewing for ever: against a stub's own endpoints, without sockets."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import enrolment as module
from agent.enrolment import JOIN_SECONDS, Enrolment
from agent.enrolment_cluster import ClusterUnknown
from agent.settings import AgentSettings
from certs.agentstate import AgentState
from certs.contexts import calling_context
from certs.denied import deny, for_good, new_denial
from certs.lifetime import utc_now
from certs.peer import agent_cluster, cluster_uid_of
from certs.signed import RENEW
from certs.tokenfile import TokenFile
from certs.tokens import parse_token
from tests.unit.certs.installation import Installation, der
from tests.unit.fakes import FakeStream, settle
from tests.unit.stub.signing.desk import UID, Desk
from tunnel.aio.errors import ConnectFailed
from tunnel.aio.stream import StreamHandler
from tunnel.kit.failures import CommandFailed, UsageError
from tunnel.kit.values import Address

STUB, OTHER = Address("stub.test", 8443), Address("other.test", 8443)


class FakeStub:
    """Answers calls as a stub does, to a connection that shows whatever the agent's state folder holds.

    Args:
        desk: its endpoints.
        state: the agent's folder.
    """

    def __init__(self, desk: Desk, state: Path) -> None:
        self.desk = desk
        self._state = AgentState(state)
        self.calls: list[tuple[Address, str]] = []
        self.failures: list[Exception | bytes] = []

    async def dial(self, stub: Address, context: ssl.SSLContext, make: Callable[[], StreamHandler]) -> None:
        failure = self.failures.pop(0) if self.failures else None
        if isinstance(failure, Exception):
            self.calls.append((stub, "nothing"))
            raise failure
        stream = FakeStream()
        stream.open(make())
        head, _, body = stream.take().partition(b"\r\n\r\n")
        method, path, _ = head.split(b" ", 2)
        self.calls.append((stub, path.decode()))
        stream.receive(failure or await self._answer(method, path, body, context))
        stream.receive_end()

    async def _answer(self, method: bytes, path: bytes, body: bytes, context: ssl.SSLContext) -> bytes:
        pair = self._state.pair()
        shown = der(pair) if pair is not None and path.decode() == RENEW else None
        # Only the very first question, which a pin proves, may go to somebody who was not verified.
        assert (context.verify_mode is ssl.CERT_NONE) == path.endswith(b"/ca")
        status, _, text = await self.desk.endpoints.answer(method, path, body, shown, "192.0.2.1")
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(text), text)


class Scene:
    """An agent that is to enrol, and its stub."""

    def __init__(self, tmp_path: Path, installation: Installation, **stub: Any) -> None:
        self.state = tmp_path / "state"
        self.stub = FakeStub(Desk(installation, **stub), self.state)
        self.token_file = tmp_path / "token"
        self.uids: list[str | Exception] = []

    @property
    def desk(self) -> Desk:
        return self.stub.desk

    async def read_uid(self) -> str:
        found = self.uids.pop(0) if self.uids else UID
        if isinstance(found, Exception):
            raise found
        return found

    def enrolment(self, token: str | None = None, **settings: Any) -> Enrolment:
        if token is not None:
            self.token_file.write_text(f"{token}\n")
            settings["join_file"] = self.token_file
        own = AgentSettings(**{"stub": (STUB,), "state": self.state, **settings})
        return Enrolment(own, self.stub.dial, self.read_uid, random=lambda: 0.0)

    def pair(self) -> Any:
        return AgentState(self.state).pair()


@pytest.fixture
def scene(tmp_path: Path, fresh: Installation) -> Scene:
    return Scene(tmp_path, fresh)


@pytest.fixture
def fresh(tmp_path: Path) -> Installation:
    return Installation.make(tmp_path / "ca")


@pytest.fixture(autouse=True)
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was slept, in no time."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await settle(1)

    monkeypatch.setattr(asyncio, "sleep", _only_long(sleep, asyncio.sleep))
    return slept


def _only_long(fake: Any, real: Any) -> Any:
    return lambda seconds: fake(seconds) if seconds else real(0)


# The first certificate -------------------------------------------------------------------------


async def test_a_token_is_turned_into_a_certificate_for_its_cluster(scene: Scene) -> None:
    settings = await scene.enrolment(scene.desk.token("prod")).enrol()
    pair = scene.pair()
    peer = scene.desk.standing.read(der(pair))
    assert (agent_cluster(peer), peer.cluster_uid) == ("prod", UID)
    assert settings.cert == settings.key == scene.state / "agent.pem"
    assert settings.ca.read_bytes() == (scene.desk.folder / "server-ca.crt").read_bytes()
    assert (settings.state, settings.join_file) == (None, None)


async def test_who_has_a_certificate_needs_no_token_any_more(scene: Scene) -> None:
    await scene.enrolment(scene.desk.token()).enrol()
    scene.token_file.unlink()
    scene.stub.calls.clear()
    settings = await scene.enrolment(join_file=scene.token_file).enrol()
    assert settings.cert == scene.state / "agent.pem"
    assert scene.stub.calls == []


async def test_the_token_with_which_it_joined_is_not_used_again(scene: Scene) -> None:
    token = scene.desk.token(uses=2)
    await scene.enrolment(token).enrol()
    scene.stub.calls.clear()
    await scene.enrolment(token).enrol()
    assert scene.stub.calls == []
    assert token.split(".")[2] not in "".join(path.read_text() for path in scene.state.iterdir())


async def test_an_agent_that_was_revoked_comes_back_with_a_new_token(scene: Scene) -> None:
    await scene.enrolment(scene.desk.token("prod")).enrol()
    revoked = scene.desk.standing.read(der(scene.pair()))
    deny(scene.desk.folder, [new_denial("agent", "prod", utc_now() - timedelta(seconds=2))])
    scene.stub.desk = Desk(scene.desk.installation)
    assert scene.desk.standing.problem(revoked) is not None
    token = scene.desk.token("prod")
    for _ in range(2):
        await scene.enrolment(token).enrol()
        assert scene.desk.standing.problem(scene.desk.standing.read(der(scene.pair()))) is None
    assert [record.used for record in TokenFile(scene.desk.folder).records()] == [1, 1]


@pytest.mark.parametrize("token", ["used up", "nonsense"])
async def test_a_new_token_that_is_of_no_use_leaves_the_certificate_that_is_there(
    scene: Scene, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.enrolment(scene.desk.token()).enrol()
    first = scene.pair().certificate
    if token == "used up":
        token = scene.desk.token()
        TokenFile(scene.desk.folder).revoke(parse_token(token).id, utc_now())
    with caplog.at_level(logging.WARNING, "agent"):
        settings = await scene.enrolment(token).enrol()
    assert settings.cert == scene.state / "agent.pem"
    assert scene.pair().certificate == first
    assert [each.message for each in caplog.records if each.name == "agent.enrolment"] == [
        "the new join token is of no use"
    ]


async def test_a_new_token_waits_for_a_stub_that_answers_while_the_agent_serves(
    scene: Scene, sleeps: list[float]
) -> None:
    await scene.enrolment(scene.desk.token("prod")).enrol()
    first = scene.pair().certificate
    enrolment = scene.enrolment(scene.desk.token("prod"))
    scene.stub.failures = [ConnectFailed("stub.test:8443", "refused")] * 3
    await enrolment.enrol()
    assert (scene.pair().certificate, sleeps) == (first, [])
    await renewing(enrolment, lambda: scene.pair().certificate != first)
    assert sleeps[:3] == [JOIN_SECONDS / 2] * 3


async def test_a_token_can_come_from_the_environment(scene: Scene) -> None:
    await scene.enrolment(join=scene.desk.token()).enrol()
    assert scene.pair() is not None


async def test_a_stub_that_does_not_answer_is_asked_again(
    scene: Scene, sleeps: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    scene.uids = [ClusterUnknown("the apiserver: no answer")]
    scene.stub.failures = [
        ConnectFailed("stub.test:8443", "refused"),
        b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n",
    ]
    with caplog.at_level(logging.WARNING):
        await scene.enrolment(scene.desk.token()).enrol()
    assert [record.message for record in caplog.records] == [
        "the cluster's UID cannot be read",
        "no stub lets this agent join",
        "no stub lets this agent join",
    ]
    assert len(sleeps) == 3
    assert all(seconds > 0 for seconds in sleeps)


async def test_an_answer_that_was_lost_costs_no_second_use(scene: Scene) -> None:
    token = scene.desk.token()
    dial = scene.stub.dial
    lost: list[bool] = []

    async def losing(stub: Address, context: ssl.SSLContext, make: Callable[[], StreamHandler]) -> None:
        await dial(stub, context, make)
        if scene.stub.calls[-1][1].endswith("join") and not lost:
            lost.append(True)
            raise ConnectFailed("stub.test:8443", "reset")

    scene.stub.dial = losing  # type: ignore[method-assign]
    await scene.enrolment(token).enrol()
    assert lost
    assert scene.pair() is not None
    assert [record.used for record in TokenFile(scene.desk.folder).records()] == [1]


async def test_a_token_that_was_used_gives_one_clear_line(scene: Scene, tmp_path: Path) -> None:
    token = scene.desk.token()
    await scene.enrolment(token).enrol()
    other = Scene(tmp_path / "second", scene.desk.installation)
    other.state.parent.mkdir(exist_ok=True)
    with pytest.raises(CommandFailed) as raised:
        await other.enrolment(token).enrol()
    assert str(raised.value).startswith(
        f"the stub at stub.test:8443 refuses: stub: the join token {parse_token(token).id} was used already"
    )
    assert "\n" not in str(raised.value)


async def test_another_stub_is_never_told_the_token(scene: Scene, tmp_path: Path) -> None:
    """A false stub, or the right one with another authority: the pin does not fit, and nothing is said."""
    stranger = Desk(Installation.make(tmp_path / "other"))
    token = stranger.token()
    with pytest.raises(CommandFailed, match=r"is not the one that the join token .* was made for"):
        await scene.enrolment(token).enrol()
    assert [path for _, path in scene.stub.calls] == ["/.cluster-tunnel/ca"]


async def test_what_somebody_in_between_adds_to_the_authority_is_not_trusted(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = scene.desk.token()
    path = scene.desk.folder / "server-ca.crt"
    own = path.read_bytes()
    path.write_bytes(Installation.make(tmp_path / "evil").path("server-ca.crt").read_bytes() + own)
    trusted: list[bytes] = []
    make = calling_context

    def noting(authority: Any, pair: Any = None) -> ssl.SSLContext:
        if authority is not None:
            trusted.append(authority.read())
        return make(authority, pair)

    monkeypatch.setattr(module, "calling_context", noting)
    scene.stub.desk = Desk(scene.desk.installation)
    await scene.enrolment(token).enrol()
    (authority,) = trusted
    assert authority == own


async def test_every_stub_is_asked_before_a_refusal_is_the_last_word(scene: Scene) -> None:
    token = scene.desk.token()
    scene.stub.failures = [b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"]
    await scene.enrolment(token, stub=(OTHER, STUB)).enrol()
    assert [stub for stub, _ in scene.stub.calls] == [OTHER, STUB, STUB]


async def test_joining_may_have_a_place_of_its_own(scene: Scene) -> None:
    await scene.enrolment(scene.desk.token(), join_at=OTHER).enrol()
    assert {stub for stub, _ in scene.stub.calls} == {OTHER}


async def test_without_certificate_and_token_there_is_one_line(scene: Scene) -> None:
    with pytest.raises(
        UsageError, match=f"--state {scene.state} holds no certificate yet: give a join token"
    ):
        await scene.enrolment().enrol()
    with pytest.raises(UsageError, match="--join: not a join token"):
        await scene.enrolment(join="abc").enrol()
    with pytest.raises(CommandFailed, match="there is no such file"):
        await scene.enrolment(join_file=scene.token_file).enrol()


async def test_a_cluster_whose_uid_may_not_be_read_is_told_what_to_grant(scene: Scene) -> None:
    scene.uids = [CommandFailed("grant it get on namespaces")]
    with pytest.raises(CommandFailed, match="grant it"):
        await scene.enrolment(scene.desk.token()).enrol()


async def test_a_state_that_was_copied_into_another_cluster_is_refused_there(scene: Scene) -> None:
    await scene.enrolment(scene.desk.token()).enrol()
    scene.uids = ["copy"]
    with pytest.raises(
        CommandFailed, match=f"was made for another cluster, with the UID {UID}; this one has copy"
    ):
        await scene.enrolment().enrol()


async def test_an_expired_certificate_is_replaced_by_joining_again(
    tmp_path: Path, fresh: Installation
) -> None:
    scene = Scene(tmp_path, fresh, agent_ttl=1.0)
    await scene.enrolment(scene.desk.token()).enrol()
    first = scene.pair().certificate
    utc = utc_now() + timedelta(hours=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "utc_now", lambda: utc)
        with pytest.raises(CommandFailed, match=r"expired on .*; give a new token with --join-file"):
            await scene.enrolment().enrol()
        await scene.enrolment(scene.desk.token()).enrol()
    assert scene.pair().certificate != first


# The next ones ---------------------------------------------------------------------------------


async def renewing(enrolment: Enrolment, until: Callable[[], bool]) -> None:
    """Let it renew until something is so."""
    task = asyncio.get_running_loop().create_task(enrolment.keep_renewed())
    async with asyncio.timeout(10):
        while not until() and not task.done():
            await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return


async def test_a_certificate_is_renewed_at_two_thirds_of_its_life(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolment = scene.enrolment(scene.desk.token("prod"))
    await enrolment.enrol()
    first = scene.pair()
    now = utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    await renewing(enrolment, lambda: scene.pair().certificate != first.certificate)
    assert abs(sum(sleeps) - 20 * 86400) < 60
    assert max(sleeps) <= 3600
    second = scene.pair()
    assert second.key_pem != first.key_pem
    peer = scene.desk.standing.read(der(second))
    assert (agent_cluster(peer), cluster_uid_of(second.certificate)) == ("prod", UID)


async def test_renewals_are_spread_over_a_twentieth_of_the_life(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.enrolment(scene.desk.token()).enrol()
    settings = AgentSettings(stub=(STUB,), state=scene.state)
    enrolment = Enrolment(settings, scene.stub.dial, scene.read_uid, random=lambda: 1.0)
    await enrolment.enrol()
    first, now = scene.pair(), utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    await renewing(enrolment, lambda: scene.pair().certificate != first.certificate)
    assert abs(sum(sleeps) - 18.5 * 86400) < 60


async def test_a_renewal_brings_the_authority_that_the_stub_will_have_next(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    enrolment = scene.enrolment(scene.desk.token())
    settings = await enrolment.enrol()
    own = scene.desk.folder / "server-ca.crt"
    own.write_bytes(
        own.read_bytes() + Installation.make(tmp_path / "next").path("server-ca.crt").read_bytes()
    )
    scene.stub.desk = Desk(scene.desk.installation)
    first, now = scene.pair(), utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    await renewing(enrolment, lambda: scene.pair().certificate != first.certificate)
    assert settings.ca.read_bytes() == own.read_bytes()


async def test_a_renewal_that_fails_is_tried_again_while_the_certificate_lasts(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    enrolment = scene.enrolment(scene.desk.token())
    await enrolment.enrol()
    first, now = scene.pair(), utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    scene.stub.failures = [ConnectFailed("stub.test:8443", "refused")] * 3
    with caplog.at_level(logging.WARNING):
        await renewing(enrolment, lambda: scene.pair().certificate != first.certificate)
    own = [record.message for record in caplog.records if record.name == "agent.enrolment"]
    assert own == ["the certificate is not renewed yet"] * 3
    assert scene.pair().certificate != first.certificate
    assert [seconds for seconds in sleeps if seconds == 1800] == [1800] * 3


async def test_an_agent_whose_certificate_has_run_out_says_so_and_ends(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolment = scene.enrolment(scene.desk.token("prod"))
    await enrolment.enrol()
    deny(scene.desk.folder, [for_good(new_denial("agent", "prod", utc_now()))])
    scene.stub.desk = Desk(scene.desk.installation, signing_attempts=100_000)
    now = utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    # Each try signs a request: four hundred would take eight seconds.
    monkeypatch.setattr(module, "TRIES_LEFT", 2)
    monkeypatch.setattr(module, "LONGEST_SLEEP_SECONDS", 86400)
    with pytest.raises(
        CommandFailed, match=r"agent\.pem: expired on .*, and no stub has renewed it: .* was revoked on"
    ):
        await enrolment.keep_renewed()


async def test_a_certificate_that_another_process_renewed_is_left_alone(
    scene: Scene, sleeps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents that share a folder."""
    enrolment = scene.enrolment(scene.desk.token())
    await enrolment.enrol()
    now = utc_now()
    monkeypatch.setattr(module, "utc_now", lambda: now + timedelta(seconds=sum(sleeps)))
    await renewing(enrolment, lambda: sum(sleeps) > 19 * 86400)
    scene.stub.calls.clear()
    monkeypatch.setattr(module, "renewal_due", lambda pair, early: now + timedelta(days=40))
    await renewing(enrolment, lambda: sum(sleeps) > 21 * 86400)
    assert scene.stub.calls == []
