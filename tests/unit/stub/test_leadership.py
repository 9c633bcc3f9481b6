"""Standing by and being the active stub, in simulated time: with real users, agents and elector, and a scripted store."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest

from stub.election.choice import FileLease, KubernetesLease, LeaseChoice
from stub.election.errors import StoreRefused
from stub.election.events import BecameActive, ElectionEvent
from stub.election.label import PodLabel
from stub.election.loop import Surroundings
from stub.election.record import LeaseRecord
from stub.election.stores.file import FileLeaseStore
from stub.election.stores.kubernetes import KubernetesLeaseStore
from stub.election.timing import ElectionTiming
from stub.front.office import RECENTLY_SECONDS
from stub.leadership import CLEAR_SECONDS, SILENT_SECONDS, Candidacy, Leadership, make_leadership
from stub.settings import StubSettings
from tests.unit.stub.election.simulated_time import SimulatedLoop, now, simulated
from tests.unit.stub.election.stage import SharedRecord, StageStore
from tests.unit.stub.parts import FarAgent, Stub
from tunnel.core.wire.control import Active
from tunnel.core.wire.exchange import Request
from tunnel.kit.failures import CommandFailed

LEASE = FileLease(Path("lease.json"))


class Store(StageStore):
    """A store that remembers whether it was opened and closed."""

    refusal = ""
    closed = False

    async def open(self) -> None:
        if self.refusal:
            raise StoreRefused(self.refusal)

    async def close(self) -> None:
        self.closed = True


class Label:
    """The label of a Pod, that says what was done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.can_be_cleared = True

    async def clear_own(self) -> None:
        self.done.append("clear")
        if not self.can_be_cleared:
            await asyncio.Event().wait()

    async def keep(self) -> None:
        self.done.append("keep")
        try:
            await asyncio.Event().wait()
        finally:
            self.done.append("kept")


class Member:
    """One stub of several, in front of an agent."""

    def __init__(self, shared: SharedRecord, name: str = "one", label: Label | None = None) -> None:
        self.stub = Stub()
        self.store = Store(shared)
        candidacy = Candidacy(
            lease=LEASE,
            store=self.store,
            identity=name,
            label=cast("PodLabel", label) if label else None,
            surroundings=Surroundings(clock=now, random=lambda: 0.5),
        )
        self.leadership = Leadership(candidacy, self.stub.office, self.stub.registry)
        self.agent = self.stub.agent()
        self.task: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            self.task = group.create_task(self.leadership.run())
            yield
            self.task.cancel()

    async def active(self) -> None:
        while not self.leadership.active:
            await asyncio.sleep(0.001)

    def asked(self, agent: FarAgent | None = None) -> list[Active | Request]:
        """Ask as a user, and return what an agent hears of it and of the lease."""
        self.user = self.stub.user()
        self.user.ask()
        return [event for event in (agent or self.agent).heard() if isinstance(event, Active | Request)]


# Users -------------------------------------------------------------------------------------------


@simulated
async def test_a_standby_answers_503_with_retry_after_and_closes_so_that_the_next_try_finds_another() -> None:
    one = Member(SharedRecord())
    assert one.asked() == []
    status, fields, body = one.user.answer()
    assert (status, fields["retry-after"], fields["connection"]) == (503, "1", "close")
    assert b"stands by" in body
    assert one.user.stream.closed


@simulated
async def test_the_active_stub_asks_its_agents_in_the_epoch_of_its_term() -> None:
    one = Member(SharedRecord())
    async with one.running():
        await one.active()
        active, request = one.asked()
        assert active == Active("uid-1", 1)
        assert isinstance(request, Request)
        assert request.epoch == 1


@simulated
async def test_users_of_an_active_stub_whose_agents_are_on_their_way_come_again() -> None:
    one = Member(SharedRecord())
    one.agent.stream.lose()
    await asyncio.sleep(60.0)
    async with one.running():
        await one.active()
        one.asked()
        assert (one.user.answer()[1]["retry-after"], one.user.stream.closed) == ("1", False)
        await asyncio.sleep(RECENTLY_SECONDS)
        one.asked()
        assert "retry-after" not in one.user.answer()[1]


@simulated
async def test_a_stub_that_was_paused_past_its_deadline_refuses_the_first_request_when_it_wakes() -> None:
    one = Member(SharedRecord())
    async with one.running():
        await one.active()
        one.asked()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        loop.sleep_process(11.0)
        assert one.asked() == [], "before the elector had a chance to run"
        assert one.user.answer()[0] == 503


@simulated
async def test_a_lost_lease_ends_the_term_and_is_counted() -> None:
    shared = SharedRecord()
    one = Member(shared)
    async with one.running():
        await one.active()
        one.store.hangs = True
        await asyncio.sleep(11.0)
        assert one.asked()[1:] == []
        assert (one.leadership.takeovers, one.leadership.losses) == (1, 1)
        one.store.hangs = False
        await one.active()
        assert one.leadership.takeovers == 2


@simulated
async def test_nothing_is_asked_between_taking_the_lease_and_telling_the_agents() -> None:
    """In that moment, of any term, the epoch would still be that of the last, which agents refuse."""
    one = Member(SharedRecord())
    asked: list[list[Active | Request]] = []

    def look(event: ElectionEvent) -> None:
        if isinstance(event, BecameActive):
            assert one.leadership.elector.holds()
            asked.append(one.asked())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stub.leadership.log_event", look)
        async with one.running():
            await one.active()
            one.agent.heard()
            one.store.hangs = True
            await asyncio.sleep(11.0)
            one.store.hangs = False
            await one.active()
    assert asked == [[], []]


# Agents ------------------------------------------------------------------------------------------


@simulated
async def test_an_agent_that_connects_later_is_told_of_the_lease_before_it_is_asked() -> None:
    one = Member(SharedRecord())
    async with one.running():
        await one.active()
        one.agent.stream.lose()
        late = one.stub.agent("late")
        active, request = one.asked(late)
        assert active == Active("uid-1", 1)
        assert isinstance(request, Request)


@simulated
async def test_a_standby_tells_agents_nothing_of_the_lease() -> None:
    shared = SharedRecord()
    one, two = Member(shared, "one"), Member(shared, "two")
    async with one.running():
        await one.active()
        async with two.running():
            await asyncio.sleep(5.0)
            assert two.agent.heard(Active) == []


@simulated
async def test_each_term_is_told_with_its_own_epoch() -> None:
    shared = SharedRecord()
    one, two = Member(shared, "one"), Member(shared, "two")
    async with one.running():
        await one.active()
        async with two.running():
            await asyncio.sleep(1.0)
            await one.leadership.hand_over()
            await two.active()
            assert one.agent.heard(Active) == [Active("uid-1", 1)]
            assert two.agent.heard(Active) == [Active("uid-1", 2)]


def lonely(shared: SharedRecord, name: str = "one") -> Member:
    member = Member(shared, name)
    member.agent.stream.lose()
    return member


@simulated
async def test_a_stub_without_agents_takes_a_free_lease_only_when_nobody_else_has() -> None:
    shared = SharedRecord()
    shared.put(LeaseRecord(holder=""))
    one = lonely(shared)
    async with one.running():
        began = now()
        await one.active()
        assert now() - began == pytest.approx(ElectionTiming().deference_seconds, abs=0.1)


@simulated
async def test_a_stub_takes_the_free_lease_as_soon_as_it_has_an_agent() -> None:
    shared = SharedRecord()
    shared.put(LeaseRecord(holder=""))
    one = lonely(shared)
    async with one.running():
        await asyncio.sleep(1.0)
        assert not one.leadership.active
        one.stub.agent()
        began = now()
        await one.active()
        assert now() - began < 0.1


@simulated
async def test_a_lease_that_is_handed_over_goes_to_the_standby_that_has_agents() -> None:
    shared = SharedRecord()
    one, two, three = Member(shared, "one"), lonely(shared, "two"), Member(shared, "three")
    async with one.running():
        await one.active()
        async with two.running(), three.running():
            await asyncio.sleep(1.0)
            await one.leadership.hand_over()
            began = now()
            await three.active()
            assert now() - began < 0.1
            await asyncio.sleep(30.0)
            assert two.leadership.takeovers == 0


# Handing over ------------------------------------------------------------------------------------


@simulated
async def test_handing_over_refuses_from_the_call_on_and_ends_with_the_lease_released() -> None:
    shared = SharedRecord()
    one = Member(shared)
    async with one.running():
        await one.active()
        one.asked()
        async with asyncio.TaskGroup() as group:
            handing = group.create_task(one.leadership.hand_over())
            await asyncio.sleep(0)
            assert not handing.done()
            assert one.asked() == []
        assert shared.record is not None
        assert shared.record.holder == ""
        assert one.task is not None
        await one.task


@simulated
async def test_handing_over_before_the_election_began_waits_for_nothing() -> None:
    shared = SharedRecord()
    one = Member(shared)
    await one.leadership.hand_over()
    await one.leadership.run()
    assert shared.writes == []


@simulated
async def test_a_cancelled_election_leaves_the_lease_to_run_out() -> None:
    shared = SharedRecord()
    one = Member(shared)
    async with one.running():
        await one.active()
    assert shared.record is not None
    assert shared.record.holder == "one"
    assert not one.leadership.active
    assert not one.store.closed
    await one.leadership.close()
    assert one.store.closed


# The label ---------------------------------------------------------------------------------------


@simulated
async def test_the_label_of_a_former_life_is_cleared_first_and_kept_while_active() -> None:
    label = Label()
    one = Member(SharedRecord(), label=label)
    async with one.running():
        await one.active()
        await asyncio.sleep(5.0)
        assert label.done == ["clear", "keep"]
        await one.leadership.hand_over()
        assert label.done == ["clear", "keep", "kept"]


@simulated
async def test_a_stub_that_may_not_set_labels_becomes_active_all_the_same() -> None:
    label = Label()
    label.can_be_cleared = False
    one = Member(SharedRecord(), label=label)
    async with one.running():
        began = now()
        await one.active()
        assert CLEAR_SECONDS <= now() - began < CLEAR_SECONDS + 0.1


# Showing -----------------------------------------------------------------------------------------


@simulated
async def test_who_holds_the_lease_is_shown_by_all() -> None:
    shared = SharedRecord()
    one, two = Member(shared, "one"), Member(shared, "two")
    assert one.leadership.describe()["holder"] == ""
    async with one.running():
        await one.active()
        async with two.running():
            await asyncio.sleep(1.0)
            common = {"lease": "file:lease.json", "holder": "one", "epoch": 1, "storeFails": False}
            assert one.leadership.describe() == common | {"state": "active", "identity": "one"}
            assert two.leadership.describe() == common | {"state": "standby", "identity": "two"}
            assert two.leadership.known_instances == (), "the holder's name tells no instance"
            two.store.fails = True
            shared.watchers.clear()
            await asyncio.sleep(10.0)
            assert two.leadership.describe()["storeFails"] is True


@simulated
async def test_a_standby_knows_the_instance_that_holds_the_lease() -> None:
    shared, holder = SharedRecord(), "0123456789abcdef"
    one, two = Member(shared, f"pod_{holder}"), Member(shared, "two")
    assert two.leadership.known_instances == ()
    async with one.running():
        await one.active()
        async with two.running():
            await asyncio.sleep(1.0)
            assert two.leadership.known_instances == (holder,)


@simulated
async def test_an_election_that_hangs_is_a_problem_and_a_store_that_fails_is_none() -> None:
    """Every stub would be unready with the store, and users would get nothing at all instead of a reason."""
    one = Member(SharedRecord())
    async with one.running():
        await one.active()
        one.store.fails = True
        await asyncio.sleep(60.0)
        assert one.leadership.problem() is None
        assert one.task is not None
        one.task.cancel()
        await asyncio.sleep(SILENT_SECONDS + 3)
        assert re.fullmatch(r"the election has not moved for \d+ s", one.leadership.problem() or "")


@simulated
async def test_a_lease_that_cannot_be_used_is_found_at_the_start() -> None:
    one = Member(SharedRecord())
    await one.leadership.open()
    one.store.refusal = "the folder / cannot be written to"
    with pytest.raises(CommandFailed, match=r"^--lease file:lease\.json: the folder / cannot be written to$"):
        await one.leadership.open()


# Making it ---------------------------------------------------------------------------------------


def made(folder: Path, **settings: object) -> Leadership | None:
    stub = Stub()
    chosen = StubSettings(ca_dir=folder, **settings)  # type: ignore[arg-type]
    return make_leadership(chosen, "instance", stub.office, stub.registry)


async def test_without_a_lease_there_is_no_election(tmp_path: Path) -> None:
    assert made(tmp_path) is None


async def test_a_file_lease_has_its_store_and_no_label(tmp_path: Path) -> None:
    leadership = made(tmp_path, lease=FileLease(tmp_path / "lease.json"), lease_duration=20)
    assert leadership is not None
    assert isinstance(leadership._candidacy.store, FileLeaseStore)
    assert leadership._candidacy.label is None
    assert leadership._candidacy.timing.lease_seconds == 20
    assert leadership._candidacy.identity.endswith("_instance")


@pytest.mark.parametrize("pod", [None, "stub-1"])
async def test_a_kubernetes_lease_has_a_label_where_the_pod_is_named(tmp_path: Path, pod: str | None) -> None:
    lease: LeaseChoice = KubernetesLease("ns", "stub")
    leadership = made(tmp_path, lease=lease, pod_name=pod, pod_selector=pod and "app=stub")
    assert leadership is not None
    assert isinstance(leadership._candidacy.store, KubernetesLeaseStore)
    assert (leadership._candidacy.label is not None) == (pod is not None)
    assert leadership._candidacy.identity.startswith("stub-1_") == (pod is not None)


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "a: [", "current-context: x\nclusters: 7\n"])
async def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    leadership = made(tmp_path, lease=KubernetesLease("ns", "stub"), lease_kubeconfig=path)
    assert leadership is not None
    with pytest.raises(CommandFailed, match=f"^--lease kubernetes:ns/stub: {re.escape(str(path))}: "):
        await leadership.open()


async def test_outside_a_pod_the_missing_service_account_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    leadership = made(tmp_path, lease=KubernetesLease("ns", "stub"))
    assert leadership is not None
    with pytest.raises(CommandFailed, match="this Pod's service account: Service host/port is not set"):
        await leadership.open()
