# SPDX-License-Identifier: Apache-2.0
"""Columns of integers: what tables in frames are made of.

A column is an array.array of one fixed width, so that ten thousand rows are one object in memory and one
`bin` on the wire.
"""

import sys
from array import array
from collections.abc import Iterable
from typing import ClassVar, Self

_SWAP = sys.byteorder == "big"  # the wire is little-endian


class Column(array):  # type: ignore[type-arg]
    """Base of the typed columns; `dtype` is its name on the wire."""

    dtype: ClassVar[str]
    typecode_: ClassVar[str]

    __slots__ = ()

    def __new__(cls, values: Iterable[int] | bytes = ()) -> Self:
        """Values as integers, or as the machine's own bytes of them."""
        return super().__new__(cls, cls.typecode_, values)

    def to_wire(self) -> tuple[str, bytes]:
        """(dtype, little-endian bytes)."""
        if _SWAP:
            swapped = type(self)(self.tobytes())
            swapped.byteswap()
            return self.dtype, swapped.tobytes()
        return self.dtype, self.tobytes()

    @classmethod
    def from_wire(cls, raw: object) -> Self:
        """Raises ValueError naming expected and got."""
        if not (isinstance(raw, list | tuple) and len(raw) == 2):  # noqa: PLR2004 [dtype, bytes]
            raise ValueError(f"expected a column [dtype, bytes], got {type(raw).__name__}")
        dtype, data = raw
        if dtype != cls.dtype:
            raise ValueError(f"expected a column of dtype {cls.dtype!r}, got {dtype!r:.40}")
        if not isinstance(data, bytes):
            raise ValueError(f"expected a column's data as bytes, got {type(data).__name__}")  # noqa: TRY004
        itemsize = cls().itemsize
        if len(data) % itemsize:
            raise ValueError(f"expected a multiple of {itemsize} bytes for {cls.dtype}, got {len(data)}")
        column = cls(data)
        if _SWAP:
            column.byteswap()
        return column


class U8(Column):
    """Unsigned, 8 bits."""

    dtype = "u8"
    typecode_ = "B"


class U32(Column):
    """Unsigned, 32 bits."""

    dtype = "u32"
    typecode_ = "I"


class U64(Column):
    """Unsigned, 64 bits."""

    dtype = "u64"
    typecode_ = "Q"


COLUMN_TYPES: tuple[type[Column], ...] = (U8, U32, U64)
