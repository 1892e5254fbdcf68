"""Kubernetes quantities: "2000m", "2" and 2.0 are the same amount."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse_quantity(text: str) -> Decimal:
    """The amount in base units. Raises ValueError for anything that Kubernetes would not accept as a quantity."""
    number, factor = text, Decimal(1)
    if text[-2:] in _BINARY:
        number, factor = text[:-2], Decimal(1024) ** _BINARY[text[-2:]]
    elif text[-1:] in _DECIMAL:
        number, factor = text[:-1], Decimal(10) ** _DECIMAL[text[-1:]]
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"{text!r} is not a quantity; write for example 500m, 2 or 1Gi")
    return Decimal(number) * factor


def canonical_quantity(value: object) -> object:
    """One spelling for each amount; what is no quantity stays as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        return format(parse_quantity(str(value)).normalize(), "f")
    except ValueError:
        return value
