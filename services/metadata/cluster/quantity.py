# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' quantities, as in `cpu: 100m`, exactly. Pure.

Source: Kubernetes API reference, Quantity: a decimal number, then one suffix of a binary power, of a decimal
power, or a decimal exponent. So `2e3` is 2000, and `2e3m` is none.
"""

import re
from fractions import Fraction
from math import ceil

from .json_part import kind

_CHARACTERS_MAX, _SHOWN_MAX = 100, 40
_QUANTITY = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>[0-9]*)(?:\.(?P<part>[0-9]*))?"
    r"(?:(?P<binary>[KMGTPE])i|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]+))?"
)
_BINARY = {letter: 2 ** (10 * power) for power, letter in enumerate("KMGTPE", 1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
# Beyond these, any number of _CHARACTERS_MAX digits is far above or below all that is asked for here.
_EXPONENT_MAX = 300
MILLI_MAX = 2**32 - 1  # what a frame's column holds


def quantity(value: object) -> Fraction:
    """The number that a quantity is, as text or as a JSON number.

    Raises ValueError, whose text repeats at most 40 characters of it.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a quantity such as 100m, got {kind(value)}")  # noqa: TRY004 bad input
    text = str(value)
    found = _QUANTITY.fullmatch(text) if len(text) <= _CHARACTERS_MAX else None
    if found is None or not (found["whole"] or found["part"]):
        raise ValueError(f"expected a quantity such as 100m, got {text[:_SHOWN_MAX]!r}")
    digits = found["whole"] + (found["part"] or "")
    exponent = _DECIMAL[found["decimal"]] if found["decimal"] else int(found["exponent"] or 0)
    exponent = max(-_EXPONENT_MAX, min(_EXPONENT_MAX, exponent)) - len(found["part"] or "")
    number: Fraction = int(digits) * _BINARY.get(found["binary"] or "", 1) * _power(exponent)
    return -number if found["sign"] == "-" else number


def _power(exponent: int) -> Fraction:
    return Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent)


def milli(value: object) -> int:
    """A quantity in thousandths, rounded up as Kubernetes does. Raises ValueError for one below 0 too."""
    found = ceil(1000 * quantity(value))
    if not 0 <= found <= MILLI_MAX:
        raise ValueError(f"expected a quantity from 0 to {MILLI_MAX}m, got {str(value)[:_SHOWN_MAX]!r}")
    return found
