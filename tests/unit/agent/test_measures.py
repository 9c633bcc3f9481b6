"""What the agent counts."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agent.dialling.roster import DialCounts
from agent.facts.vitals import Vitals
from agent.measures import AgentMeasures


def session(in_flight: int, channels: int) -> Any:
    return SimpleNamespace(in_flight=in_flight, channels=SimpleNamespace(in_use=channels))


def numbers(*, reachable: bool = True) -> list[str]:
    agent = SimpleNamespace(
        links=[session(3, 2), session(4, 1)],
        upstream=SimpleNamespace(reachable=reachable, dial_milliseconds=4),
        vitals=Vitals(milliseconds=2.5),
        roster=SimpleNamespace(
            workers={("a", 0), ("b", 0)},
            missing={"c"},
            counts=DialCounts(3, 7, Counter({"connect to": 2, "resolve": 1}), 5),
        ),
    )
    return AgentMeasures(cast("Any", agent)).render().decode().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "sessions 2.0",
        "stubs_missing 1.0",
        "in_flight 7.0",
        "channels_in_use 3.0",
        'sessions_dialled_total{outcome="filed"} 3.0',
        'sessions_dialled_total{outcome="known"} 7.0',
        'dial_failures_total{step="connect to"} 2.0',
        'dial_failures_total{step="resolve"} 1.0',
        "channels_misdirected_total 5.0",
        "upstream_reachable 1.0",
        "upstream_connect_seconds 0.004",
        "upstream_round_trip_seconds 0.0025",
    ],
)
def test_every_number_is_there_and_those_of_all_sessions_are_added_up(line: str) -> None:
    assert f"cluster_tunnel_agent_{line}" in numbers()


def test_an_apiserver_out_of_reach_shows() -> None:
    assert "cluster_tunnel_agent_upstream_reachable 0.0" in numbers(reachable=False)
