"""On a real cluster: the tunnel changes nothing, and the simulator answers as the cluster does."""

import pytest

from tests.scenarios.binaries import Binary, thorough_binaries
from tests.scenarios.catalogue import Scenario
from tests.scenarios.comparison import assert_same, parametrised_plays, play_on
from tests.scenarios.kubectl import Access, Same
from tests.scenarios.reporting import Record, record_measurements

# What the others ask a server is what one of these asks.
_THOROUGH = thorough_binaries()


@pytest.mark.parametrize(("binary", "scenario"), parametrised_plays(on_cluster=True))
def test_the_tunnel_changes_nothing(
    binary: Binary, scenario: Scenario, directly: Access, through: Access, record_property: Record
) -> None:
    expected = play_on(scenario, binary, directly)
    record_measurements(expected.measured, "directly", record_property)
    got = play_on(scenario, binary, through)
    record_measurements(got.measured, "through the tunnel", record_property)
    assert_same(expected, got, Same.PATHS)


@pytest.mark.parametrize(
    ("binary", "scenario"),
    parametrised_plays(on_simulator=True, on_cluster=True, binaries=_THOROUGH, slow=False),
)
def test_the_simulator_answers_as_the_cluster(
    binary: Binary, scenario: Scenario, directly: Access, simulated: Access
) -> None:
    expected = play_on(scenario, binary, directly)
    got = play_on(scenario, binary, simulated)
    assert_same(expected, got, Same.EVERYWHERE)
