"""What the stub counts."""

from collections import Counter
from types import SimpleNamespace
from typing import cast

import pytest

from stub.election.record import LeaseRecord
from stub.leadership import Leadership
from stub.measures import StubMeasures
from stub.recording.recorder import Recorder
from stub.recording.recording import RecordingTally
from tests.unit.fakes import Clock
from tests.unit.stub.parts import Stub
from tunnel.aio.admittance import TurnedAway
from tunnel.aio.listen import Listener


@pytest.fixture
def measures(stub: Stub) -> StubMeasures:
    measures = StubMeasures(stub.registry)
    stub.office._ledgers = (measures,)
    return measures


def values(measures: StubMeasures) -> dict[str, float]:
    """Every line, without the prefix."""
    lines = measures.render().decode().splitlines()
    pairs = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    return {name.removeprefix("cluster_tunnel_stub_"): float(value) for name, _, value in pairs}


async def test_requests_are_counted_by_cluster_and_status(stub: Stub, measures: StubMeasures) -> None:
    agent = stub.agent()
    user = stub.user()
    for number, code in enumerate((200, 200, 404), 1):
        user.ask("POST /api", "Content-Length: 2", body=b"ab")
        agent.asked()
        agent.channel().answer(number, b"body", code)
    found = values(measures)
    assert found['requests_total{cluster="blue",code="200"}'] == 2
    assert found['requests_total{cluster="blue",code="404"}'] == 1
    assert found['sent_bytes_total{cluster="blue"}'] == 12
    assert found['received_bytes_total{cluster="blue"}'] == 6


async def test_a_cluster_that_a_client_invents_gets_no_line_of_its_own(
    stub: Stub, measures: StubMeasures
) -> None:
    user = stub.user()
    for name in ("one", "two"):
        user.ask(f"GET /clusters/{name}/api")
    found = values(measures)
    assert found['requests_total{cluster="",code="503"}'] == 2
    assert not any("one" in name for name in found)


async def test_durations_fall_into_buckets_up_to_their_bound(
    stub: Stub, measures: StubMeasures, clock: Clock
) -> None:
    agent, user = stub.agent(), stub.user()
    for number, seconds in enumerate((0.0, 0.25, 700.0), 1):
        user.ask()
        await clock.advance(seconds)
        agent.answer(number)
    found = values(measures)
    buckets = {
        name.partition('le="')[2].rstrip('"}'): value
        for name, value in found.items()
        if name.startswith("request_seconds_bucket")
    }
    assert buckets["0.005"] == 1
    assert buckets["0.5"] == 2
    assert buckets["600.0"] == 2
    assert buckets["+Inf"] == 3
    assert found['request_seconds_count{cluster="blue"}'] == 3
    assert found['request_seconds_sum{cluster="blue"}'] == pytest.approx(700.25)


async def test_agents_are_counted_when_asked_for(stub: Stub, measures: StubMeasures) -> None:
    first, _ = stub.agent(), stub.agent()
    assert values(measures)['agents{cluster="blue"}'] == 2
    first.stream.lose()
    assert values(measures)['agents{cluster="blue"}'] == 1


async def test_failed_handshakes_are_counted(measures: StubMeasures) -> None:
    measures.handshake_failed()
    assert values(measures)["failed_handshakes_total"] == 1


async def test_connections_that_were_turned_away_are_counted_by_reason(measures: StubMeasures) -> None:
    for _ in range(2):  # users' listener and agents'
        counts = Counter({TurnedAway.ADDRESS_RATE: 2})
        measures.listeners.append(cast("Listener", SimpleNamespace(turned_away=counts)))
    assert values(measures)['turned_away_connections_total{reason="address_rate"}'] == 4
    assert values(measures)['turned_away_connections_total{reason="crowd"}'] == 0


def test_a_stub_without_a_lease_is_active_and_says_nothing_of_one(measures: StubMeasures) -> None:
    found = values(measures)
    assert found["active"] == 1
    assert not any("lease" in name for name in found)


@pytest.mark.parametrize("active", [False, True])
def test_the_part_in_the_election_is_shown(measures: StubMeasures, active: bool) -> None:
    elector = SimpleNamespace(record=LeaseRecord(transitions=7), failing_since=12.0)
    leadership = SimpleNamespace(active=active, takeovers=3, losses=2, elector=elector)
    measures.leadership = cast("Leadership", leadership)
    found = values(measures)
    assert found["active"] == active
    assert (found["takeovers_total"], found["lease_losses_total"]) == (3, 2)
    assert (found["lease_epoch"], found["lease_store_failing"]) == (7, 1)


def test_recordings_are_counted_where_there_are_any(measures: StubMeasures) -> None:
    assert not any("recording" in name for name in values(measures))
    tally = RecordingTally(started=5, faulty=2, dropped_bytes=300, waiting_bytes=7)
    measures.recorder = cast("Recorder", SimpleNamespace(tally=tally))
    found = values(measures)
    assert (found["recordings_total"], found["faulty_recordings_total"]) == (5, 2)
    assert found["unrecorded_bytes_total"] == 300
