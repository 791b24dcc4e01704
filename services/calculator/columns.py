# SPDX-License-Identifier: Apache-2.0
"""Integers as numpy columns. Pure.

Everything is a signed 64-bit integer: differences are natural, and 2⁶³ µJ last a node of 1 kW for 290 years.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wattline.wire.columns import U32, U64, Column

Ints = NDArray[np.int64]


class ImpossibleError(ValueError):
    """A frame with a counter that no machine can have reached."""


def ints(column: Column) -> Ints:
    """A frame's column as numbers to calculate with.

    Raises ImpossibleError for a value from 2⁶³ on.
    """
    if not len(column):
        return np.zeros(0, np.int64)
    values = np.frombuffer(column, dtype=f"u{column.itemsize}").astype(np.int64)
    if values.min() < 0:
        raise ImpossibleError(f"expected counters below 2^63, got {int(values.min()) + 2**64}")
    return values


def largest(column: Column) -> int:
    """The largest value of a column that has any, at little cost."""
    return int(np.frombuffer(column, dtype=f"u{column.itemsize}").max())


def u64(values: Ints) -> U64:
    """Numbers as a frame's column."""
    return U64(np.ascontiguousarray(values).tobytes())


def u32(values: Ints) -> U32:
    """Numbers below 2³² as a frame's column."""
    return U32(values.astype(np.uint32).tobytes())


def grown(values: Ints, capacity: int) -> Ints:
    """The same with room for more columns, filled with 0."""
    wider = np.zeros((*values.shape[:-1], capacity), np.int64)
    wider[..., : values.shape[-1]] = values
    return wider


def rows_of(columns: Sequence[Column], count: int) -> Ints:
    """Columns below each other, as [column, row]."""
    return np.array([ints(column) for column in columns], np.int64).reshape(len(columns), count)
