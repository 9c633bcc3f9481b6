"""Plots as SVG, small and readable as text: grouped bars, and lines over a logarithmic axis."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from tests.bench.figures import Spread, number

WIDTH: Final = 760
LEFT: Final = 150
RIGHT: Final = 90
TOP: Final = 44
ROW: Final = 18
GAP: Final = 14
HEIGHT: Final = 300
"""Of a plot of lines."""

COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#64748b", "#0891b2", "#a16207")
"""Told apart by people who see colours differently, and in print by their lightness."""

STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1f2937}.title{font-size:14px;font-weight:600}"
    ".small{font-size:11px;fill:#4b5563}.grid{stroke:#e5e7eb}.axis{stroke:#9ca3af}.range{stroke:#111827}"
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a plot.

    Attributes:
        name: in the legend.
        points: x and y, in the order of x; x above 0.
    """

    name: str
    points: Sequence[tuple[float, float]]


def _document(height: float, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height:g}" rx="6" fill="#ffffff"/>\n'
        f'<text class="title" x="16" y="24">{escape(title)}</text>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _stroke(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


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
    parts, y = [_text(WIDTH - 16, 24, f"{better} is better", anchor="end", style="small")], float(TOP)
    for group, values in groups.items():
        parts.append(_text(16, y + 11, group))
        y += ROW
        for name, each in values.items():
            parts += _bar(name, each, y, scale, COLOURS[series.index(name) % len(COLOURS)])
            y += ROW
        y += GAP
    return _document(y, title, parts)


def _bar(name: str, each: Spread, y: float, scale: float, colour: str) -> list[str]:
    end = LEFT + each.median * scale
    parts = [
        _text(LEFT - 8, y + 11, name, anchor="end", style="small"),
        f'<rect x="{LEFT}" y="{y + 2:.1f}" width="{max(end - LEFT, 1):.1f}" height="{ROW - 5}" rx="2" fill="{colour}"/>',
        _text(max(end, LEFT + each.most * scale) + 6, y + 11, number(each.median), style="small"),
    ]
    if each.rounds > 1:
        middle = y + ROW / 2 - 0.5
        parts.append(_stroke(LEFT + each.least * scale, middle, LEFT + each.most * scale, middle, "range"))
    return parts


# Lines -----------------------------------------------------------------------------------------


def lines(title: str, x_title: str, drawn: Sequence[Line]) -> str:
    """Return lines with their points over a logarithmic x axis; y begins at 0, so that what is flat looks flat.

    Args:
        title: says what y is, with its unit.
        x_title: says what x is.
        drawn: with a point at least.
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
    parts.append(_text((70 + WIDTH - RIGHT - 90) / 2, HEIGHT - 12, x_title, anchor="middle", style="small"))
    for line, colour in zip(drawn, COLOURS * len(drawn), strict=False):
        parts += _line(line, colour, place_x, place_y)
    parts += _legend([line.name for line in drawn])
    return _document(HEIGHT, title, parts)


Place = Callable[[float], float]


def _axes(xs: Sequence[float], top: float, place_x: Place, place_y: Place) -> list[str]:
    parts = []
    right = place_x(xs[-1])
    for step in range(5):
        y = top * step / 4
        parts.append(_stroke(70, place_y(y), right, place_y(y), "axis" if not step else "grid"))
        parts.append(_text(62, place_y(y) + 4, f"{y:g}", anchor="end", style="small"))
    parts += [_text(place_x(x), place_y(0) + 18, f"{x:g}", anchor="middle", style="small") for x in xs]
    return parts


def _line(line: Line, colour: str, place_x: Place, place_y: Place) -> list[str]:
    points = [(place_x(x), place_y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in points]
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots]


def _legend(names: Sequence[str]) -> list[str]:
    parts = []
    for index, name in enumerate(names):
        y = TOP + index * ROW
        colour = COLOURS[index % len(COLOURS)]
        parts.append(
            f'<rect x="{WIDTH - RIGHT - 66}" y="{y:.1f}" width="10" height="10" rx="2" fill="{colour}"/>'
        )
        parts.append(_text(WIDTH - RIGHT - 50, y + 9, name, style="small"))
    return parts


def _ceiling(value: float) -> float:
    """Return the next round number that is not below `value`."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value * 0.999)
