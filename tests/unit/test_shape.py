"""The code keeps its shape: small functions, files with one subject."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ("tunnel", "agent", "stub", "certs")
FILE_LINES = 500
FUNCTION_LINES = 60

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, order=True)
class Measured:
    """Something that has a length, and its place."""

    lines: int
    where: str

    def __str__(self) -> str:
        return f"{self.lines:4} {self.where}"


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def measure_files(*folders: str) -> list[Measured]:
    return [
        Measured(len(path.read_text().splitlines()), str(path.relative_to(ROOT)))
        for path in python_files(*folders)
    ]


def length(function: Function) -> int:
    """Lines from `def` to the last statement, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def measure_functions(text: str, where: str) -> Iterator[Measured]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            yield Measured(length(node), f"{where}:{node.lineno} {node.name}")


def functions_in(*folders: str) -> list[Measured]:
    return [
        measured
        for path in python_files(*folders)
        for measured in measure_functions(path.read_text(), str(path.relative_to(ROOT)))
    ]


def above(measured: Sequence[Measured], limit: int) -> list[str]:
    return [str(each) for each in sorted(measured, reverse=True) if each.lines > limit]


def distribution(name: str, measured: Sequence[Measured]) -> str:
    lines = [each.lines for each in measured]
    longest = "\n".join(f"    {each}" for each in sorted(measured, reverse=True)[:5])
    ninetieth = quantiles(lines, n=10)[-1]
    return (
        f"{name}: {len(lines)}, lines {sum(lines)}, median {median(lines):g}, p90 {ninetieth:.0f}\n{longest}"
    )


def test_files_are_at_most_500_lines(capsys: pytest.CaptureFixture[str]) -> None:
    source, tests = measure_files(*SOURCE), measure_files("tests")
    with capsys.disabled():
        print(f"\n{distribution('source files', source)}\n{distribution('test files', tests)}")
    assert above([*source, *tests], FILE_LINES) == []


def test_functions_of_the_source_are_at_most_60_lines(capsys: pytest.CaptureFixture[str]) -> None:
    functions = functions_in(*SOURCE)
    with capsys.disabled():
        print(f"\n{distribution('functions', functions)}")
    assert above(functions, FUNCTION_LINES) == []


def test_a_function_is_measured_without_its_docstring() -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert list(measure_functions(text, "f.py")) == [Measured(2, "f.py:1 f")]


def test_what_is_above_the_limit_is_named_with_its_place() -> None:
    assert above([Measured(3, "a.py"), Measured(4, "b.py")], 3) == ["   4 b.py"]
