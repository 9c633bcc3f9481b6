"""Line charts: a column of panels over one axis of x."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tests.svg import COLOURS, Line, Point, document, legend, polyline, rule, text

__all__ = ["Line", "Panel", "Point", "nice_step", "render"]

WIDTH: Final = 860
PANEL: Final = 220
LEFT: Final = 64
RIGHT: Final = 150
TOP: Final = 30
BOTTOM: Final = 26
STEPS: Final = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart of the column; its y axis begins at 0. Lines of one name have the same colour and one entry in the legend."""

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
    drawn.append(text((WIDTH - RIGHT + LEFT) / 2, height - 6, x_title, anchor="middle", style="small"))
    return document(WIDTH, height, "; ".join(panel.title for panel in panels), drawn)


def _panel(panel: Panel, top: float, x_span: float) -> list[str]:
    y_span = 1.05 * max((y for line in panel.lines for _, y in line.points), default=1.0)
    area = _Area(top, x_span, y_span)
    drawn = [text(LEFT, top + 18, panel.title, style="title")]
    for tick in _ticks(y_span):
        drawn.append(rule(LEFT, area.y(tick), WIDTH - RIGHT, area.y(tick)))
        drawn.append(text(LEFT - 6, area.y(tick) + 4, f"{tick:g}", anchor="end", style="small"))
    for tick in _ticks(x_span):
        drawn.append(rule(area.x(tick), area.bottom, area.x(tick), area.bottom + 4, "axis"))
        drawn.append(text(area.x(tick), area.bottom + 16, f"{tick:g}", anchor="middle", style="small"))
    names = list(dict.fromkeys(line.name for line in panel.lines))
    colours = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    for line in panel.lines:
        places = [(area.x(x), area.y(y)) for x, y in line.points]
        drawn += [polyline(places, colours[line.name], 1.4)] if places else []
    return drawn + legend(WIDTH - RIGHT + 10, area.top, colours, 15)
