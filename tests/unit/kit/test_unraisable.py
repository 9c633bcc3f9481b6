"""Errors that can be raised nowhere."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tunnel.kit import unraisable
from tunnel.kit.unraisable import BURST_LINES, LINES_PER_SECOND, UnraisableHook


class Broken:
    """Fails when it is thrown away, and whenever it is asked who it is."""

    def __del__(self) -> None:
        raise ValueError("spoilt\nand forged")

    def __repr__(self) -> str:
        raise AssertionError("it is half gone")


@pytest.fixture(autouse=True)
def _hook() -> Iterator[None]:
    unraisable.install()
    yield
    unraisable.uninstall()


def extras(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__ for record in caplog.records]


def test_an_error_of_a_destructor_is_a_log_line_and_nothing_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    Broken()
    (line,) = extras(caplog)
    assert line["where"].startswith("Broken.__del__ test_unraisable.py:")
    assert line["reason"] == "ValueError: spoilt\nand forged"
    assert capfd.readouterr().err == ""


def test_an_error_of_a_thing_without_a_place_names_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    class Args:
        exc_type, exc_value, exc_traceback, object = ValueError, ValueError("x"), None, b"name"

    hook: Any = sys.unraisablehook
    hook(Args)
    assert [line["where"] for line in extras(caplog)] == ["bytes"]


def test_who_provokes_them_cannot_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(sys, "unraisablehook", UnraisableHook(sys.unraisablehook, lambda: now[0]))
    for _ in range(BURST_LINES + 7):
        Broken()
    assert len(caplog.records) == BURST_LINES
    now[0] += 1 / LINES_PER_SECOND
    Broken()
    assert [line.get("silenced") for line in extras(caplog)] == [None] * BURST_LINES + ["7"]


def test_the_hook_that_was_there_comes_back() -> None:
    mine: Any = sys.unraisablehook
    unraisable.install()
    unraisable.uninstall()
    assert sys.unraisablehook is mine.before
    unraisable.uninstall()
    assert sys.unraisablehook is mine.before
