"""Files with rules: read strictly, replaced only by what is right."""

import logging
from pathlib import Path

import pytest

from tunnel.kit.document import DocumentFault, RulesFile, read_yaml
from tunnel.kit.failures import UsageError


def number_of(document: object) -> int:
    if not isinstance(document, dict):
        raise ValueError("number: is missing")
    return int(document["number"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text("number: 1")
    return path


@pytest.fixture
def file(path: Path) -> RulesFile[int]:
    return RulesFile(path, number_of, "--rules", interval_seconds=5.0)


def test_plain_yaml_comes_as_plain_values() -> None:
    assert read_yaml(b"a: [1, true, x]\nb: {c: }") == {"a": [1, True, "x"], "b": {"c": None}}
    assert read_yaml(b"") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands twice"),
        ("x: {a: 1, a: 1}", "'a' stands twice"),
        ("a: &a {b: 1}\nc:\n  <<: *a", "line 3: merge keys are not read"),
        ("a: [", "not valid YAML in line 1"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("? [a]\n: b", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
    ],
)
def test_what_readers_may_disagree_on_is_refused(text: str, words: str) -> None:
    with pytest.raises(DocumentFault, match=words.replace("[", r"\[")):
        read_yaml(text.encode())


def test_a_file_that_is_wrong_at_the_start_is_the_callers_mistake(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(UsageError, match=r"--rules .*missing: No such file"):
        RulesFile(missing, number_of, "--rules")
    missing.write_text("x")
    with pytest.raises(UsageError, match=r"--rules .*missing: number: is missing"):
        RulesFile(missing, number_of, "--rules")


def test_new_content_is_in_force_from_the_next_look(file: RulesFile[int], path: Path) -> None:
    assert file.current(0.0) == 1
    path.write_text("number: 2")
    assert file.current(4.9) == 1
    assert file.current(5.0) == 2


def test_a_broken_new_file_keeps_the_old_rules_and_is_logged_once(
    file: RulesFile[int], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text("number: x")
    assert [file.current(now) for now in (0.0, 5.0, 10.0)] == [1, 1, 1]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "invalid literal" in record.__dict__["reason"]
    assert file.problem is not None


def test_a_file_that_comes_right_again_is_in_force_without_complaint(
    file: RulesFile[int], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for now, text, number in ((0.0, "[", 1), (5.0, "number: 1", 1), (10.0, "number: 3", 3)):
        path.write_text(text)
        assert file.current(now) == number
    assert file.problem is None
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["ERROR"]


def test_while_a_file_is_gone_the_old_rules_hold(
    file: RulesFile[int], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.unlink()
    assert [file.current(now) for now in (0.0, 5.0)] == [1, 1]
    assert file.problem is not None
    assert len(caplog.records) == 1
    path.write_text("number: 1")
    assert file.current(10.0) == 1
    assert file.problem is None
