# SPDX-License-Identifier: Apache-2.0
"""Tables of frames: rows as columns, with safe names."""

from collections.abc import Iterable
from typing import ClassVar

from msgspec import Struct

from .names import are_safe, safe_name, safe_names


def if_any(names: Iterable[str]) -> list[str]:
    """An optional column of names; absent (empty) where no row has anything in it."""
    column = [*names]
    return column if any(column) else []


class Safe(Struct, kw_only=True):
    """Names in it are made safe when it is made, whoever makes it."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, str):
                setattr(self, name, value if are_safe([value]) else safe_name(value))
            elif isinstance(value, list) and value and isinstance(value[0], str):
                setattr(self, name, value if are_safe(value) else safe_names(value))
            elif isinstance(value, dict):
                setattr(self, name, {safe_name(key): count for key, count in value.items()})


class Table(Safe, kw_only=True):
    """Rows as columns of equal length; the first field gives the number of rows.

    The fields named in `column_lists` are lists of such columns, one for each zone or counter; those in
    `optional` are empty where the publisher has nothing to say: absence is not zero.
    """

    column_lists: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        super().__post_init__()
        rows = len(self)
        for name in self.__struct_fields__:
            value = getattr(self, name)
            for column in value if name in self.column_lists else (value,):
                if len(column) != rows and (column or name not in self.optional):
                    raise ValueError(
                        f"column {name!r}: expected {rows} rows as in {self.__struct_fields__[0]!r}, "
                        f"got {len(column)}"
                    )

    def __len__(self) -> int:
        return len(getattr(self, self.__struct_fields__[0]))
