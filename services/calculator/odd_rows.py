# SPDX-License-Identifier: Apache-2.0
"""Rows that the wire can carry and the books can't hold: left out and counted. Pure."""

from itertools import compress
from typing import Any

import msgspec

from wattline.wire.columns import Column
from wattline.wire.frames import Activity
from wattline.wire.table import Table

from .columns import largest

CGROUP_ID_MAX = 2**63 - 1  # inode numbers of cgroups are small
SOCKET_MAX = 2**31 - 1  # physical_package_id is a C int; -1, where it is unknown, is not published
START_TICKS_MAX = 2**63 - 1
_LIMITS = {
    "cgroup_id": CGROUP_ID_MAX,
    "parent_id": CGROUP_ID_MAX,
    "socket": SOCKET_MAX,
    "start_ticks": START_TICKS_MAX,
}
_TABLES = ("cpus", "cgroups", "processes", "paths")


def without_odd_rows(activity: Activity) -> tuple[Activity, int]:
    """(the frame without rows whose cgroup or socket has an impossible number, how many were left out)."""
    tables = {name: getattr(activity, name) for name in _TABLES}
    odd = {name: table for name, table in tables.items() if _has_odd_rows(table)}
    if not odd:
        return activity, 0
    kept = {name: _without(table) for name, table in odd.items()}
    left_out = sum(len(odd[name]) - len(kept[name]) for name in odd)
    return msgspec.structs.replace(activity, **kept), left_out


def _limited(table: Table) -> list[tuple[Column, int]]:
    columns = [(getattr(table, name, None), limit) for name, limit in _LIMITS.items()]
    return [(column, limit) for column, limit in columns if column]


def _has_odd_rows(table: Table) -> bool:
    return any(largest(column) > limit for column, limit in _limited(table))


def _without(table: Table) -> Table:
    keep = [True] * len(table)
    for column, limit in _limited(table):
        keep = [kept and value <= limit for kept, value in zip(keep, column, strict=True)]
    changes: dict[str, Any] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if name in table.column_lists:
            changes[name] = [type(column)(compress(column, keep)) for column in value]
        else:
            changes[name] = type(value)(compress(value, keep))
    return msgspec.structs.replace(table, **changes)
