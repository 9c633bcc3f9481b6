"""Plots of a bench: grouped bars, and lines over a logarithmic axis."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.bench.figures import Spread, number
from tests.svg import COLOURS, Line, box, document, legend, polyline, rule, text

__all__ = ["LEFT", "Line", "bars", "lines"]

WIDTH: Final = 760
LEFT: Final = 150
RIGHT: Final = 90
TOP: Final = 44
ROW: Final = 18
GAP: Final = 14
HEIGHT: Final = 300
"""Of a plot of lines."""


def _plot(height: float, title: str, parts: Sequence[str]) -> str:
    return document(WIDTH, height, title, [text(16, 24, title, style="title"), *parts])


# Bars ------------------------------------------------------------------------------------------


def bars(title: str, groups: Mapping[str, Mapping[str, Spread]], better: str) -> str:
    """Return horizontal bars with their ranges, in groups.

    Args:
        title: says what is measured, with its unit.
        groups: by group, by series, what the rounds say; a series has the same colour in all groups.
        better: which way, for the reader.
    """
    series = list(dict.fromkeys(name for group in groups.values() for name in group))
    most = max((each.most for group in groups.values() for each in group.values()), default=0.0) or 1.0
    scale = (WIDTH - LEFT - RIGHT) / most
    parts, y = [text(WIDTH - 16, 24, f"{better} is better", anchor="end", style="small")], float(TOP)
    for group, values in groups.items():
        parts.append(text(16, y + 11, group))
        y += ROW
        for name, each in values.items():
            parts += _bar(name, each, y, scale, COLOURS[series.index(name) % len(COLOURS)])
            y += ROW
        y += GAP
    return _plot(y, title, parts)


def _bar(name: str, each: Spread, y: float, scale: float, colour: str) -> list[str]:
    end = LEFT + each.median * scale
    parts = [
        text(LEFT - 8, y + 11, name, anchor="end", style="small"),
        box(LEFT, y + 2, max(end - LEFT, 1), ROW - 5, colour),
        text(max(end, LEFT + each.most * scale) + 6, y + 11, number(each.median), style="small"),
    ]
    if each.rounds > 1:
        middle = y + ROW / 2 - 0.5
        parts.append(rule(LEFT + each.least * scale, middle, LEFT + each.most * scale, middle, "range"))
    return parts


# Lines -----------------------------------------------------------------------------------------


def lines(title: str, x_title: str, drawn: Sequence[Line]) -> str:
    """Return lines with their points over a logarithmic x axis; y begins at 0, so that what is flat looks flat.

    Args:
        title: says what y is, with its unit.
        x_title: says what x is.
        drawn: with a point at least, x above 0, and a name of its own each.
    """
    xs = sorted({x for line in drawn for x, _ in line.points})
    top = _ceiling(max(y for line in drawn for _, y in line.points))
    bottom = float(HEIGHT - 54)
    low, high = math.log10(xs[0]), math.log10(xs[-1])

    def place_x(x: float) -> float:
        part = 0.5 if high == low else (math.log10(x) - low) / (high - low)
        return 70 + part * (WIDTH - 70 - RIGHT - 90)

    def place_y(y: float) -> float:
        return bottom - y / top * (bottom - TOP)

    parts = _axes(xs, top, place_x, place_y)
    parts.append(text((70 + WIDTH - RIGHT - 90) / 2, HEIGHT - 12, x_title, anchor="middle", style="small"))
    colours = {line.name: COLOURS[index % len(COLOURS)] for index, line in enumerate(drawn)}
    for line in drawn:
        parts += _line(line, colours[line.name], place_x, place_y)
    parts += legend(WIDTH - RIGHT - 66, TOP, colours, ROW)
    return _plot(HEIGHT, title, parts)


Place = Callable[[float], float]


def _axes(xs: Sequence[float], top: float, place_x: Place, place_y: Place) -> list[str]:
    parts = []
    right = place_x(xs[-1])
    for step in range(5):
        y = top * step / 4
        parts.append(rule(70, place_y(y), right, place_y(y), "axis" if not step else "grid"))
        parts.append(text(62, place_y(y) + 4, f"{y:g}", anchor="end", style="small"))
    parts += [text(place_x(x), place_y(0) + 18, f"{x:g}", anchor="middle", style="small") for x in xs]
    return parts


def _line(line: Line, colour: str, place_x: Place, place_y: Place) -> list[str]:
    points = [(place_x(x), place_y(y)) for x, y in line.points]
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [polyline(points, colour, 2), *dots]


def _ceiling(value: float) -> float:
    """Return the next round number that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999)
