"""What the agent counts."""

from types import SimpleNamespace
from typing import Any, cast

from agent.measures import AgentMeasures


def session(in_flight: int, channels: int) -> Any:
    return SimpleNamespace(stub=object(), in_flight=in_flight, channels=SimpleNamespace(in_use=channels))


def numbers(links: list[Any], *, reachable: bool = True) -> list[str]:
    upstream = SimpleNamespace(reachable=reachable, dial_milliseconds=4)
    agent = cast("Any", SimpleNamespace(links=links, upstream=upstream))
    return AgentMeasures(agent).render().decode().splitlines()


def test_the_numbers_of_all_sessions_are_added_up() -> None:
    lines = numbers([session(3, 2), session(4, 1)])
    assert "cluster_tunnel_agent_sessions 2.0" in lines
    assert "cluster_tunnel_agent_in_flight 7.0" in lines
    assert "cluster_tunnel_agent_channels_in_use 3.0" in lines


def test_a_session_without_hello_does_not_count() -> None:
    greeting = SimpleNamespace(stub=None)
    assert "cluster_tunnel_agent_sessions 0.0" in numbers([greeting])


def test_an_apiserver_out_of_reach_shows() -> None:
    assert "cluster_tunnel_agent_upstream_reachable 0.0" in numbers([], reachable=False)
    assert "cluster_tunnel_agent_upstream_connect_seconds 0.004" in numbers([])
