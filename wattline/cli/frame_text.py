# SPDX-License-Identifier: Apache-2.0
"""Frames as text for people. Pure."""

import time
from collections.abc import Iterator

from wattline.wire.columns import Column
from wattline.wire.frames import Activity, AnyFrame, Energy, Frame, Metadata, Power, Status, Table

_HEADER_FIELDS = frozenset(Frame.__struct_fields__)
_NS_PER_MS, _UJ_PER_J, _BYTES_PER_MB = 1e6, 1e6, 1e6


def line(frame: AnyFrame) -> str:
    """Time, topic, number, and what matters most in it."""
    clock = time.strftime("%H:%M:%S", time.localtime(frame.unix_ns // 1_000_000_000))
    millis = frame.unix_ns // 1_000_000 % 1000
    return f"{clock}.{millis:03d} {frame.topic:8} {frame.producer} #{frame.seq}  {_summary(frame)}"


def _summary(frame: AnyFrame) -> str:
    match frame:
        case Activity():
            busy_ns = sum(frame.cgroups.cpu_ns) + sum(frame.cpus.lost_ns)
            return (
                f"{len(frame.processes)} processes in {len(frame.cgroups)} cgroups, {busy_ns / 1e9:.3f} s "
                f"of CPU, {len(frame.cpus)} CPUs, skew {frame.skew_ns / _NS_PER_MS:.3f} ms, {frame.source}"
            )
        case Power():
            zones = frame.zones
            return _list(
                f"{zones.zone[row]}/{zones.index[row]} {zones.energy_uj[row] / _UJ_PER_J:.6f} J "
                f"{zones.provenance[row]}"
                for row in range(len(zones))
            )
        case Metadata():
            containers = len(set(filter(None, frame.cgroups.container_id)))
            return f"{len(frame.cgroups)} cgroups, {containers} containers, {len(frame.processes)} processes"
        case Energy():
            books = frame.zones
            accounts = _list(
                f"{books.zone[row]}/{books.index[row]} {books.measured_uj[row] / _UJ_PER_J:.6f} J "
                f"(idle {books.idle_uj[row] / _UJ_PER_J:.6f})"
                for row in range(len(books))
            )
            return f"{accounts}; {len(frame.containers)} containers, {len(frame.processes)} processes"
        case Status():
            troubles = {**frame.frames_lost, **frame.frames_refused, **frame.errors}
            return (
                f"pid {frame.pid}, {frame.cpu_ns / 1e9:.2f} s of CPU, "
                f"{frame.memory_bytes / _BYTES_PER_MB:.0f} MB, {frame.frames_sent} frames sent, "
                f"{frame.late_ticks} late ticks" + (f", troubles {troubles}" if troubles else "")
            )


def _list(parts: Iterator[str]) -> str:
    return ", ".join(parts) or "no zones"


def rows(frame: AnyFrame) -> Iterator[str]:
    """Every table of a frame, a line a row under its column names."""
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if isinstance(value, Table):
            yield f"  {name} ({len(value)} rows)"
            yield from (f"    {text}" for text in _table(value))
        elif name not in _HEADER_FIELDS:
            yield f"  {name} = {value}"


def _table(table: Table) -> Iterator[str]:
    columns: dict[str, list[str]] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if name in table.column_lists:
            for zone, column in enumerate(value):
                columns[f"{name}[{zone}]"] = [str(number) for number in column]
        else:
            columns[name] = [str(cell) for cell in value]
    widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
    numeric = [isinstance(getattr(table, name.split("[")[0]), Column) or "[" in name for name in columns]
    for cells in zip(*([name, *cells] for name, cells in columns.items()), strict=True):
        yield "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ).rstrip()
