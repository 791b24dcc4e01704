# SPDX-License-Identifier: Apache-2.0
"""Frames that every decoder accepts and no honest stage sends, made from true ones. Pure."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from tests.fuzz.structure import Packed, Pairs, packed, unpacked
from wattline.wire.codec import decode, encode
from wattline.wire.columns import Column
from wattline.wire.frames import AnyFrame, Energy
from wattline.wire.packed import FrameError
from wattline.wire.table import Table

S = 1_000_000_000
_UNIX_NS = 1_750_000_000 * S  # what a stage sends that takes the wrong clock
_CHANGES_MAX = 3
_ATTEMPTS = 30
_ROWS = (1, 2, 40, 255, 256, 257, 300)
_NAMES = (
    "",
    "x",
    "package",
    "dram",
    "platform",
    "0",
    "rapl-sysfs",
    "foreign",
    "\u202e",
    "a" * 5000,
    "terminated",
    "\\",
    '"',
)
_TIMES = (
    "epoch", "run", "mono_ns", "unix_ns", "interval_ns", "useful_mono_ns", "skew_ns", "covers_epoch",
    "covers_mono_ns",
    "activity_epoch", "activity_mono_ns", "activity_skew_ns",
)  # fmt: skip


def odd_frame(chance: Random, frame: AnyFrame, now_ns: int) -> bytes:
    """A valid frame of the same stream, changed in a few ways."""
    for _attempt in range(_ATTEMPTS):
        changed = frame
        try:
            for _change in range(chance.randint(1, _CHANGES_MAX)):
                changed = chance.choice(_CHANGES)(chance, changed, now_ns)
            data = encode(changed)
            decode(data)
        except (FrameError, ValueError, TypeError, OverflowError):  # such a frame can't be sent
            continue
        return _with_unknown_keys(chance, data, frame) if chance.random() < 0.1 else data
    return encode(_time(chance, frame, now_ns))


def number(chance: Random, of: int, bits: int, now_ns: int) -> int:
    """A number of so many bits that may stand in the place of one."""
    values = (
        0, 1, of + 1, of - 1, of + 10**6, of + 10**12, of // 2, 2 * of, now_ns, now_ns - 1, now_ns - 3600 * S,
    now_ns + S // 2, now_ns + 3600 * S, now_ns + 10**15, _UNIX_NS, 2**31, 2**32 - 1, 2**53, 2**62,
    2**63 - 1,
        2**63, 2**64 - 1, chance.randrange(2**64),
    )  # fmt: skip
    return max(0, chance.choice(values)) % 2**bits


def _time(chance: Random, frame: AnyFrame, now_ns: int) -> AnyFrame:
    """One of the frame's own times."""
    name = chance.choice([name for name in _TIMES if hasattr(frame, name)])
    return msgspec.structs.replace(frame, **{name: number(chance, getattr(frame, name), 64, now_ns)})


def _count(chance: Random, frame: AnyFrame, now_ns: int) -> AnyFrame:
    """A number of the frame that is no time, or a count by name."""
    names = [name for name in frame.__struct_fields__ if isinstance(getattr(frame, name), int | dict)]
    name = chance.choice([name for name in names if name not in (*_TIMES, "schema")])
    value = getattr(frame, name)
    value = (
        {chance.choice(_NAMES): number(chance, 0, 64, now_ns) for _key in range(chance.choice(_ROWS))}
        if isinstance(value, dict)
        else number(chance, value, 64, now_ns)
    )
    return msgspec.structs.replace(frame, **{name: value})


def _in_table(change: Callable[[Random, Any, int], Any]) -> Callable[[Random, AnyFrame, int], AnyFrame]:
    """A change to one of the frame's tables; to its times where it has none."""

    def changed(chance: Random, frame: AnyFrame, now_ns: int) -> AnyFrame:
        names = [name for name in frame.__struct_fields__ if isinstance(getattr(frame, name), Table)]
        if not names:
            return _count(chance, frame, now_ns)
        name = chance.choice(names)
        return msgspec.structs.replace(frame, **{name: change(chance, getattr(frame, name), now_ns)})

    return changed


def _cell(chance: Random, table: Table, now_ns: int) -> Table:
    """One number or name."""
    return _with_values(chance, table, now_ns, rows=1)


def _column(chance: Random, table: Table, now_ns: int) -> Table:
    """A whole column alike."""
    return _with_values(chance, table, now_ns, rows=len(table))


def _with_values(chance: Random, table: Table, now_ns: int, rows: int) -> Table:
    names = [name for name in table.__struct_fields__ if len(getattr(table, name))]
    if not names or not len(table):
        return table
    name = chance.choice(names)
    columns = getattr(table, name)
    at = chance.randrange(len(columns)) if name in table.column_lists else None
    column = columns[at] if at is not None else columns
    first = chance.randrange(len(table)) if rows == 1 else 0
    changed = _filled(chance, column, range(first, first + rows), now_ns)
    if at is not None:
        changed = [*columns[:at], changed, *columns[at + 1 :]]
    return msgspec.structs.replace(table, **{name: changed})


def _filled(chance: Random, column: Any, rows: range, now_ns: int) -> Any:
    changed = column[:] if isinstance(column, list) else type(column)(column)
    value = chance.choice(_NAMES) if isinstance(column, list) else None
    for row in rows:
        if value is not None:
            changed[row] = value
        elif row == rows[0]:
            changed[row] = number(chance, column[row], 8 * column.itemsize, now_ns)
        else:
            changed[row] = changed[rows[0]]
    return changed


def _rows(chance: Random, table: Table, _now_ns: int) -> Table:
    """Rows in another order, twice, missing, or none at all."""
    every = list(range(len(table)))
    match chance.randrange(4):
        case 0:
            return taken(table, chance.sample(every, len(every)))
        case 1:
            return taken(table, every + every[: chance.randint(0, 3)])
        case 2:
            return taken(table, chance.sample(every, chance.randint(0, len(every))))
    return taken(table, [])


def _many(chance: Random, table: Table, now_ns: int) -> Table:
    """Many rows, each with a name or number of its own."""
    if not len(table):
        return table
    count = chance.choice(_ROWS)
    grown = taken(table, [row % len(table) for row in range(count)])
    first = table.__struct_fields__[chance.choice((0, min(1, len(table.__struct_fields__) - 1)))]
    column = getattr(grown, first)
    if isinstance(column, list) and first not in table.column_lists:
        base = chance.choice(("new", column[0][:20]))
        return msgspec.structs.replace(grown, **{first: [f"{base}{row}" for row in range(count)]})
    if isinstance(column, Column) and len(column):
        top = 2 ** (8 * column.itemsize) - 1
        values = [min(top, column[0] + row) for row in range(count)]
        return msgspec.structs.replace(grown, **{first: type(column)(values)})
    return grown


def _jump(chance: Random, frame: AnyFrame, now_ns: int) -> AnyFrame:
    """Energy added to a process, its container and its zone alike, so that the books close; else a time."""
    if not isinstance(frame, Energy) or not len(frame.zones) or not len(frame.processes):
        return _time(chance, frame, now_ns)
    zone, row = chance.randrange(len(frame.zones)), chance.randrange(len(frame.processes))
    added_uj = chance.choice((1, 10**6, 10**12, 2**62, 2**63))
    changed = decode(encode(frame))  # a copy
    assert isinstance(changed, Energy)
    changed.zones.measured_uj[zone] += added_uj
    changed.containers.dynamic_uj[zone][changed.processes.container_row[row]] += added_uj
    changed.processes.dynamic_uj[zone][row] += added_uj
    return changed


def taken(table: Table, rows: Sequence[int]) -> Table:
    """The table with these rows, in this order."""

    def of(column: Any) -> Any:
        if not len(column):  # an optional one that is absent
            return column
        return (
            [column[row] for row in rows]
            if isinstance(column, list)
            else type(column)(column[row] for row in rows)
        )

    fields = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        fields[name] = [of(column) for column in value] if name in table.column_lists else of(value)
    return type(table)(**fields)


def _with_unknown_keys(chance: Random, data: bytes, frame: AnyFrame) -> bytes:
    """Keys of a later version, on the frame and in its tables."""
    value = unpacked(data)
    new = ("added_later", Packed(b"\x93\xc0\x80\xa1x" if chance.random() < 0.5 else b"\xcf" + b"\xff" * 8))
    pairs = [
        (key, Pairs([*of, new]) if isinstance(getattr(frame, key, None), Table) else of) for key, of in value
    ]
    return packed(Pairs([*pairs, new]))


_CHANGES: tuple[Callable[[Random, AnyFrame, int], AnyFrame], ...] = (
    _time, _time, _count, _in_table(_cell), _in_table(_cell), _in_table(_column), _in_table(_rows),
    _in_table(_many), _jump,
)  # fmt: skip
