# SPDX-License-Identifier: Apache-2.0
"""Families of gauges, one value per row. Pure."""

from collections.abc import Sequence

from .exposition import Block, Family


def gauge(name: str, meaning: str, labels: Sequence[str], values: Sequence[int], decimals: int = 0) -> Family:
    """A gauge; of rows with equal labels, which should not be, the last counts."""
    last = dict(zip(labels, values, strict=True))
    return Family(name, "gauge", meaning, [Block(list(last), list(last.values()))], decimals)


def info(name: str, meaning: str, labels: Sequence[str]) -> Family:
    """A gauge that is always 1: what it says is in its labels."""
    return gauge(name, f"1; {meaning}", labels, [1] * len(labels))


def known(labels: Sequence[str], values: Sequence[int]) -> tuple[list[str], list[int]]:
    """Only the series whose value is not 0, for columns of a frame in which that means not known.

    Without values (a column that the publisher left out) there are none.
    """
    pairs = [(label, value) for label, value in zip(labels, values, strict=bool(values)) if value]
    return [label for label, _value in pairs], [value for _label, value in pairs]
