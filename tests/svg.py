"""SVG without a library: what the drawings of measurements are made of, small and readable as text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#64748b", "#0891b2", "#a16207")
"""Told apart by people who see colours differently, and in print by their lightness."""

STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#1f2937}.title{font-size:14px;font-weight:600}"
    ".small{font-size:11px;fill:#4b5563}.grid{stroke:#e5e7eb}.axis{stroke:#9ca3af}.range{stroke:#111827}"
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A line to be drawn.

    Attributes:
        name: in the legend.
        points: x and y, in the order of x.
    """

    name: str
    points: Sequence[Point]


def document(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Return a whole picture; `title` is for those who do not see it."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", style: str = "") -> str:
    """Return words at a place; `anchor` says which end of them is there, `style` is a class of `STYLE`."""
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def rule(x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> str:
    """Return a straight line; `style` is a class of `STYLE`."""
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(x: float, y: float, width: float, height: float, colour: str) -> str:
    """Return a filled rectangle."""
    return f'<rect x="{x:g}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" rx="2" fill="{colour}"/>'


def polyline(points: Iterable[Point], colour: str, width: float) -> str:
    """Return a line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'


def legend(x: float, y: float, colours: dict[str, str], row: float) -> list[str]:
    """Return what the colours stand for, from the top left corner down.

    Args:
        colours: by name.
        row: the height of each, in pixels.
    """
    parts = []
    for number, (name, colour) in enumerate(colours.items()):
        parts.append(box(x, y + number * row, 10, 10, colour))
        parts.append(text(x + 16, y + number * row + 9, name, style="small"))
    return parts
