"""What is kept of the runs, and how it is shown."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.faults import figures
from tests.faults.measure import as_text
from tests.faults.tables import Scenario, tables

FROZEN = Scenario("freeze", "freezes", "stood still")
GOOD = {"statuses": [503, 503], "overlap": {"proven": 0}}


def test_runs_that_did_not_come_to_their_end_are_not_left_out_in_silence() -> None:
    whole = tables({"freeze": [GOOD, GOOD]}, [FROZEN])["freezes"]
    assert whole.splitlines()[-1] == "| stood still | 2 | 503 | 0 |"
    broken = tables({"freeze": [GOOD, {"error": "no stub is active"}]}, [FROZEN])["freezes"]
    assert broken.splitlines()[-1] == "| stood still (1 more did not come to its end) | 1 | 503 | 0 |"


def test_a_stream_that_is_broken_off_is_not_shown_as_one_that_ended() -> None:
    drained = Scenario("drain", "drains", "an agent")
    endings = [{"kind": "watch", "seconds": 1.0, "how": how, "lines": 1} for how in ("clean", "cut")]
    shown = tables({"drain": [{"endings": endings}]}, [drained])["drains"]
    assert (
        shown.splitlines()[-1] == "| an agent | watch | 2 | 1.00 to 1.00 | between two events, broken off |"
    )


def test_figures_are_kept_with_one_run_in_each_line() -> None:
    found = {"freeze": {"origin": {"commit": "0"}, "timing": {"lease": 3}, "runs": [GOOD, GOOD]}}
    text = as_text(found)
    assert json.loads(text) == found
    assert text.splitlines().count("  " + json.dumps(GOOD)) == 1, "the last one has no comma"


def test_the_commit_is_dirty_where_the_product_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/server.py").touch()
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (tmp_path / "notes").touch()
    clean = figures.origin("x")["commit"]
    assert not clean.endswith("-dirty")
    (tmp_path / "stub/server.py").write_text("changed")
    assert figures.origin("x")["commit"] == f"{clean}-dirty"
