# SPDX-License-Identifier: Apache-2.0
"""Prometheus's text format, version 0.0.4, for many series of exact integers. Pure.

The labels of a row are turned into text once and then shared by all families that have the row, and a
value stays an integer up to its decimal digits: a float holds 53 bits, a counter of microjoules 64.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

# The first and the last three of six decimals.
_UPPER_DECIMALS = tuple(f".{number:03d}" for number in range(1000))
_LOWER_DECIMALS = tuple(f"{number:03d}\n" for number in range(1000))
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Block:
    """Series of one family: their own labels as text, the labels they have in common, their values.

    `labels` are distinct; `values` has as many entries, none negative if the family has 6 decimals.
    """

    labels: Sequence[str]
    values: Sequence[int]
    common: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All series of one name. A value is an integer in units of 10 to the power of minus `decimals`."""

    name: str
    kind: str  # counter or gauge
    help: str
    blocks: Sequence[Block]
    decimals: int = 0


class Rows:
    """Rows of a table as series: rows whose labels are equal are one series, and their values add up.

    A process that ran in two cgroups of a container makes such rows; two equal series would spoil the
    whole scrape. `counted` leaves rows out: those where it is false are in no series.
    """

    def __init__(self, labels: Sequence[str], counted: Sequence[bool] | None = None) -> None:
        self._counted = None if counted is None or all(counted) else counted
        if self._counted is not None:
            labels = list(compress(labels, self._counted))
        self.labels: Sequence[str] = labels
        self._series: list[int] | None = None  # for each row, which series; None where it is its own
        numbers: dict[str, int] = {}
        for label in labels:
            numbers.setdefault(label, len(numbers))
        if len(numbers) < len(labels):
            self.labels = list(numbers)
            self._series = [numbers[label] for label in labels]

    def block(self, columns: Sequence[Sequence[int]], common: str = "") -> Block:
        """The sum of some columns (at least one), each with a value per row."""
        if self._counted is not None:
            columns = [list(compress(column, self._counted)) for column in columns]
        values = columns[0] if len(columns) == 1 else [*map(sum, zip(*columns, strict=True))]
        if self._series is None:
            return Block(self.labels, values, common)
        merged = [0] * len(self.labels)
        for series, value in zip(self._series, values, strict=True):
            merged[series] += value
        return Block(self.labels, merged, common)


def escape(value: str) -> str:
    """A label value as it stands between its quotes."""
    # Nearly no name needs it, and looking is cheaper than translating.
    return value.translate(_ESCAPES) if "\\" in value or '"' in value or "\n" in value else value


def label_text(labels: Mapping[str, str]) -> str:
    """Labels as they stand between the braces."""
    return ",".join([f'{name}="{escape(value)}"' for name, value in labels.items()])


def text(families: Iterable[Family]) -> bytes:
    """The families in the order given; one without a series is left out."""
    return b"".join([_family(family).encode() for family in families if _has_series(family)])


def _has_series(family: Family) -> bool:
    return any(len(block.labels) for block in family.blocks)


def _family(family: Family) -> str:
    blocks = "".join([_block(family.name, block, family.decimals) for block in family.blocks])
    return f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.kind}\n{blocks}"


def _block(name: str, block: Block, decimals: int) -> str:
    separator = "," if block.common and block.labels and block.labels[0] else ""
    head, tail = f"{name}{{", f"{separator}{block.common}}} "
    if not block.common and list(block.labels) == [""]:
        head, tail = name, " "  # a series without labels
    # Laid out in a list and joined once: a fifth faster than one formatted line per series.
    pieces: list[str] = [head] * (3 * len(block.labels))
    pieces[1::3] = block.labels
    pieces[2::3] = _values(tail, block.values, decimals)
    return "".join(pieces)


def _values(before: str, values: Sequence[int], decimals: int) -> list[str]:
    if decimals != 6:  # noqa: PLR2004 nearly all series have 6: µJ as J, ns as ms
        return [f"{before}{decimal(value, decimals)}\n" for value in values]
    # Two look-ups take less time than formatting six digits.
    upper, lower = _UPPER_DECIMALS, _LOWER_DECIMALS
    return [
        f"{before}{value // 1000000}{upper[value // 1000 % 1000]}{lower[value % 1000]}" for value in values
    ]


def decimal(value: int, decimals: int) -> str:
    """`value` × 10 ** -`decimals`, with exactly so many decimals."""
    if decimals == 0:
        return str(value)
    whole, part = divmod(abs(value), 10**decimals)
    return f"{'-' if value < 0 else ''}{whole}.{part:0{decimals}d}"
