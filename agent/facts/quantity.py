"""Kubernetes quantities (`250m`, `1.5Gi`, `2e3`) as whole numbers."""

import re
from fractions import Fraction
from math import ceil
from typing import Final

_QUANTITY: Final = re.compile(
    r"([+-]?)(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE])|[eE]([+-]?\d{1,2}))?\Z",
    re.ASCII,
)

_BINARY: Final = {f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL: Final = {letter: Fraction(1000**power) for power, letter in enumerate("kMGTPE", 1)}
_SMALL: Final = {letter: Fraction(1, 1000**power) for power, letter in enumerate("mun", 1)}
_FACTORS: Final = _BINARY | _DECIMAL | _SMALL


def read_quantity(text: object, scale: int = 1) -> int:
    """Return a quantity in units of one `scale`-th, rounded up as the scheduler does.

    Raises:
        ValueError: it is none. The apiserver keeps numbers as they came, so an int is one too.
    """
    match = _QUANTITY.match(str(text)) if isinstance(text, str | int) else None
    if match is None:
        raise ValueError("not a quantity")
    sign, number, suffix, exponent = match.groups()
    value = Fraction(number)
    if suffix:
        value *= _FACTORS[suffix]
    elif exponent:
        value *= Fraction(10) ** int(exponent)
    return ceil(value * scale) * (-1 if sign == "-" else 1)
