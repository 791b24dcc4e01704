# SPDX-License-Identifier: Apache-2.0
"""Whole numbers as the kernel writes them. Pure.

int() accepts more than that ("1_0", "+1", " 1", digits of other scripts), and refuses one of 5,000 digits
with a text of its own.
"""

_DIGITS_MAX = 20  # of the largest number
_MAX = 2**64 - 1


def decimal(text: bytes | str) -> int:
    """Return the number that decimal digits stand for. Raises ValueError unless it is one of 64 bits."""
    if text and len(text) <= _DIGITS_MAX and text.isascii() and text.isdigit():
        number = int(text)
        if number <= _MAX:
            return number
    raise ValueError(f"expected decimal digits of a number up to {_MAX}, got {text!r:.60}")
