"""The benchmark over real processes, with numbers as small as they can be: what it measures is really done."""

from pathlib import Path

import pytest

from tests.bench import growth, whole_path
from tests.bench.figures import OWN_FIGURES, failures, spread
from tests.bench.installation import configuration, make_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_folder(tmp_path)
    return tmp_path


def test_a_round_of_everything_has_every_figure_and_no_failure(folder: Path) -> None:
    found = whole_path.measure(folder, whole_path.ALL, seconds=0.5, mib=16)
    assert failures([found]) == []
    assert all(found[test] for test in whole_path.ALL)
    assert all(spread([found], figure) is not None for figure in OWN_FIGURES)
    assert found["end"]["alive"]


@pytest.mark.parametrize("what", growth.MEASURES)
def test_growth_is_measured_with_a_few_of_each(folder: Path, what: str) -> None:
    point = growth.MEASURES[what](growth.Growth(folder, 0.5, 1000), 8)
    assert point["count"] == 8
    assert all(isinstance(value, int | float) for value in point.values())


def test_the_configuration_that_is_measured_is_shown_without_folders_of_this_machine() -> None:
    found = configuration()
    assert "mode: impersonate" in found["agent"]
    assert "default-cluster: bench" in found["stub"]
    assert "/" not in found["stub"].replace("https://", "")
