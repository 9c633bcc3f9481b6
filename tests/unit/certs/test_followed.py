"""Values made from files that change while the process runs."""

import logging
from pathlib import Path

import pytest

from certs.errors import CertificateProblem
from certs.followed import Followed


class Number:
    """A file that must hold a number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reads = 0

    def read(self) -> int:
        self.reads += 1
        try:
            return int(self.path.read_text())
        except ValueError:
            raise CertificateProblem(f"{self.path}: is no number") from None
        except FileNotFoundError:
            return 0


@pytest.fixture
def number(tmp_path: Path) -> Number:
    (tmp_path / "number").write_text("1")
    return Number(tmp_path / "number")


def follow(number: Number) -> Followed[int]:
    return Followed("a number", [number.path], number.read, interval_seconds=5.0)


def test_a_change_is_taken_up_at_the_next_look(number: Number) -> None:
    followed = follow(number)
    assert followed.current(10.0) == 1
    number.path.write_text("2")
    assert followed.current(14.9) == 1
    assert (followed.current(15.0), followed.value) == (2, 2)


def test_what_did_not_change_is_not_read_again(number: Number) -> None:
    followed = follow(number)
    for now in (5.0, 10.0, 15.0):
        followed.current(now)
    assert number.reads == 1


def test_what_is_wrong_leaves_the_old_value_and_is_said_once(
    number: Number, caplog: pytest.LogCaptureFixture
) -> None:
    followed = follow(number)
    number.path.write_text("x")
    with caplog.at_level(logging.ERROR):
        assert [followed.current(now) for now in (5.0, 10.0)] == [1, 1]
    assert [record.reason for record in caplog.records] == [f"{number.path}: is no number"]  # type: ignore[attr-defined]
    assert followed.problem == f"{number.path}: is no number"


def test_what_was_wrong_is_tried_again_without_another_change(number: Number) -> None:
    """As when the certificate of a pair comes before its key: what could not be used is not taken as seen."""
    followed = follow(number)
    number.path.write_text("x")
    followed.current(5.0)
    reads = number.reads
    followed.current(10.0)
    assert number.reads == reads + 1
    number.path.write_text("3")
    assert followed.current(15.0) == 3
    assert followed.problem is None


def test_a_file_that_is_gone_changes_nothing(number: Number) -> None:
    followed = follow(number)
    number.path.unlink()
    assert followed.current(5.0) == 1
    assert followed.problem == f"{number.path}: No such file or directory"


def test_a_file_that_was_never_there_is_not_missed_and_found_when_it_comes(number: Number) -> None:
    number.path.unlink()
    followed = follow(number)
    assert followed.current(5.0) == 0
    assert followed.problem is None
    number.path.write_text("4")
    assert followed.current(10.0) == 4


def test_a_file_that_comes_later_and_cannot_be_read_is_missed(
    number: Number, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a deny list that another user has written: nobody would be denied, and nobody would know."""
    number.path.unlink()
    followed = follow(number)
    assert followed.current(5.0) == 0
    number.path.write_text("4")

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Path, "open", refuse)
        assert followed.current(10.0) == 0
    assert followed.problem == f"{number.path}: Permission denied"
    assert [record.reason for record in caplog.records] == [followed.problem]  # type: ignore[attr-defined]
    assert followed.current(15.0) == 4
    assert followed.problem is None


def test_a_file_in_a_folder_that_cannot_be_entered_is_missed(
    number: Number, monkeypatch: pytest.MonkeyPatch
) -> None:
    number.path.unlink()
    followed = follow(number)

    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "stat", refuse)
    followed.current(5.0)
    assert followed.problem == f"{number.path}: Permission denied"


def test_a_swapped_link_is_a_change(number: Number, tmp_path: Path) -> None:
    """A Kubernetes Secret changes by a link two folders up; neither the name nor the inode of the file itself changes."""
    for name, text in (("one", "1"), ("two", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "number").write_text(text)
    (tmp_path / "data").symlink_to("one")
    linked = Number(tmp_path / "data" / "number")
    followed = follow(linked)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").rename(tmp_path / "data")
    assert followed.current(5.0) == 2


def test_what_cannot_be_used_at_the_start_is_an_error(number: Number) -> None:
    number.path.write_text("x")
    with pytest.raises(CertificateProblem, match="is no number"):
        follow(number)
