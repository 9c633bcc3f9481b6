"""Everything kubectl does ends the same through the tunnel as directly, with every kubectl there is."""

import pytest

from tests.scenarios.binaries import Binary
from tests.scenarios.catalogue import Scenario
from tests.scenarios.comparison import assert_same, parametrised_plays, play_on
from tests.scenarios.kubectl import Access, Same
from tests.scenarios.reporting import Record, record_measurements


@pytest.mark.parametrize(("binary", "scenario"), parametrised_plays(on_simulator=True))
def test_the_tunnel_changes_nothing(
    binary: Binary, scenario: Scenario, directly: Access, through: Access, record_property: Record
) -> None:
    expected = play_on(scenario, binary, directly)
    record_measurements(expected.measured, "directly", record_property)
    got = play_on(scenario, binary, through)
    record_measurements(got.measured, "through the tunnel", record_property)
    assert_same(expected, got, Same.PATHS)
