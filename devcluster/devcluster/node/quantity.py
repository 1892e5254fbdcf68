"""Kubernetes quantities ("250m", "1Gi") as exact numbers."""

import math
from decimal import Decimal, InvalidOperation

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


def parse_quantity(text: str) -> Decimal:
    """The number that ``text`` stands for. Raises ValueError with the text."""
    number, factor = text, Decimal(1)
    if text[-2:] in _BINARY:
        number, factor = text[:-2], Decimal(1024) ** _BINARY[text[-2:]]
    elif text[-1:] in _DECIMAL:
        number, factor = text[:-1], Decimal(10) ** _DECIMAL[text[-1:]]
    try:
        return Decimal(number) * factor
    except InvalidOperation:
        raise ValueError(f"quantity {text!r}: expected a number with an optional suffix such as m, Ki or Mi") from None


def divided(text: str, divisor: str) -> int:
    """``text`` in units of ``divisor``, rounded up as the kubelet does; a divisor of 0 counts as 1."""
    unit = parse_quantity(divisor or "1") or Decimal(1)
    return math.ceil(parse_quantity(text) / unit)
