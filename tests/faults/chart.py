"""Line charts as SVG, without a library: a column of panels over one axis of x."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 860
PANEL: Final = 220
LEFT: Final = 64
RIGHT: Final = 150
TOP: Final = 30
BOTTOM: Final = 26
COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#7f7f7f")
STEPS: Final = (1, 2, 5)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel; a name that comes again has the same colour and one entry in the legend."""

    name: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of the column; its y axis begins at 0."""

    title: str
    lines: Sequence[Line]


def nice_step(span: float, most: int = 6) -> float:
    """Return the distance of at most `most` round ticks over a span."""
    power = 1e-6
    while True:
        for step in STEPS:
            if span <= step * power * most:
                return step * power
        power *= 10


def _ticks(span: float) -> list[float]:
    step = nice_step(span)
    return [step * number for number in range(int(span / step) + 1)]


class _Area:
    """Where the points of a panel are on the page."""

    def __init__(self, top: float, x_span: float, y_span: float) -> None:
        self.top = top + TOP
        self.bottom = top + PANEL - BOTTOM
        self._x_span = x_span or 1.0
        self._y_span = y_span or 1.0

    def x(self, value: float) -> float:
        return LEFT + value / self._x_span * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - value / self._y_span * (self.bottom - self.top)


def render(panels: Sequence[Panel], x_title: str) -> str:
    """Return the page.

    Args:
        panels: from top to bottom.
        x_title: what x means, with its unit.
    """
    points = [point for panel in panels for line in panel.lines for point in line.points]
    x_span = max((x for x, _ in points), default=1.0)
    height = PANEL * len(panels) + 20
    drawn = [
        piece for number, panel in enumerate(panels) for piece in _panel(panel, number * PANEL + 4.0, x_span)
    ]
    drawn.append(_text((WIDTH - RIGHT + LEFT) / 2, height - 6, x_title, "middle"))
    style = "text{font:11px sans-serif;fill:#333}.t{font-weight:bold;font-size:12px}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}">'
    return "\n".join(
        [
            head,
            f"<style>{style}</style>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, top: float, x_span: float) -> list[str]:
    y_span = 1.05 * max((y for line in panel.lines for _, y in line.points), default=1.0)
    area = _Area(top, x_span, y_span)
    drawn = [f'<text class="t" x="{LEFT}" y="{top + 18:.0f}">{escape(panel.title)}</text>']
    for tick in _ticks(y_span):
        drawn.append(_rule(LEFT, area.y(tick), WIDTH - RIGHT, area.y(tick)))
        drawn.append(_text(LEFT - 6, area.y(tick) + 4, f"{tick:g}", "end"))
    for tick in _ticks(x_span):
        drawn.append(_rule(area.x(tick), area.bottom, area.x(tick), area.bottom + 4))
        drawn.append(_text(area.x(tick), area.bottom + 16, f"{tick:g}", "middle"))
    names = list(dict.fromkeys(line.name for line in panel.lines))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    drawn += [_line(line, area, colours[line.name]) for line in panel.lines if line.points]
    for number, name in enumerate(names):
        y = area.top + 6 + 15 * number
        drawn.append(
            f'<rect x="{WIDTH - RIGHT + 10}" y="{y:.0f}" width="10" height="3" fill="{colours[name]}"/>'
        )
        drawn.append(_text(WIDTH - RIGHT + 25, y + 5, name, "start"))
    return drawn


def _line(line: Line, area: _Area, colour: str) -> str:
    points = " ".join(f"{area.x(x):.1f},{area.y(y):.1f}" for x, y in line.points)
    return f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{points}"/>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
