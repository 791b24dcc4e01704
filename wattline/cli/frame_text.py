# SPDX-License-Identifier: Apache-2.0
"""Frames as text for people. Pure."""

import time
from collections.abc import Iterator, Sequence

from wattline.wire.columns import Column
from wattline.wire.frames import Activity, AnyFrame, Energy, Frame, Metadata, Power, Status, Use
from wattline.wire.table import Table

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
            # Each has a row for every socket.
            processes = len(set(zip(frame.processes.pid, frame.processes.start_ticks, strict=True)))
            cgroups = len(set(frame.cgroups.cgroup_id))
            return (
                f"{processes} processes in {cgroups} cgroups, {busy_ns / 1e9:.3f} s "
                f"of CPU, {len(frame.cpus)} CPUs, skew {frame.skew_ns / _NS_PER_MS:.3f} ms, {frame.source}"
            )
        case Power():
            return _power(frame)
        case Metadata():
            containers = len({*frame.cgroups.container_id, *frame.processes.container_id} - {""})
            vms = _vms(frame.cgroups.vm_id, frame.processes.vm_id)
            return (
                f"{len(frame.cgroups)} cgroups, {containers} containers{vms}, "
                f"{len(frame.processes)} processes"
            )
        case Energy():
            return _energy(frame)
        case Status():
            troubles = {**frame.frames_lost, **frame.frames_refused, **frame.errors}
            return (
                f"pid {frame.pid}, {frame.cpu_ns / 1e9:.2f} s of CPU, "
                f"{frame.memory_bytes / _BYTES_PER_MB:.0f} MB, {frame.frames_sent} frames sent, "
                f"{frame.late_ticks} late ticks" + (f", troubles {troubles}" if troubles else "")
            )


def _power(frame: Power) -> str:
    zones = frame.zones
    energies = _list(
        f"{zones.zone[row]}/{zones.index[row]} {zones.source[row]} "
        f"{zones.energy_uj[row] / _UJ_PER_J:.6f} J {zones.provenance[row]}"
        for row in range(len(zones))
    )
    use = frame.gpu_use
    users = len({(pid, start) for pid, start in zip(use.pid, use.start_ticks, strict=True) if pid})
    return energies + (f"; {users} processes on {len({*use.index})} GPUs" if len(use) else "")


def _energy(frame: Energy) -> str:
    books = frame.zones
    ways = [f", by {share_by}" if share_by else "" for share_by in books.share_by or [""] * len(books)]
    accounts = _list(
        f"{books.zone[row]}/{books.index[row]} {books.measured_uj[row] / _UJ_PER_J:.6f} J "
        f"(idle {books.idle_uj[row] / _UJ_PER_J:.6f}{ways[row]})"
        for row in range(len(books))
    )
    # A container has a row for each virtual machine in it; one that has ended is none any more.
    containers = len({*frame.containers.container_id} - {"terminated"})
    vms = _vms(frame.containers.vm_id)
    return f"{accounts}; {containers} containers{vms}, {len(frame.processes)} processes"


def _vms(*columns: Sequence[str]) -> str:
    """How many virtual machines these columns name; nothing where there is none."""
    count = len(set().union(*columns) - {""})
    return f", {count} virtual machines" if count else ""


def _list(parts: Iterator[str]) -> str:
    return ", ".join(parts) or "no zones"


def rows(frame: AnyFrame) -> Iterator[str]:
    """Every table of a frame, a line a row under its column names; what the publisher left out is not there.

    A column of a list is named by its counter, or by its number where the list is by zone.
    """
    counters = frame.counters if isinstance(frame, Activity) else None
    for name in frame.__struct_fields__:
        value = getattr(frame, name)
        if isinstance(value, Table):
            yield f"  {name} ({len(value)} rows)"
            yield from (f"    {text}" for text in _table(value, counters))
        elif name not in _HEADER_FIELDS:
            yield f"  {name} = {value}"


def _table(table: Table, counters: Sequence[str] | None) -> Iterator[str]:
    columns: dict[str, Column | list[str]] = {}
    used = Use.__struct_fields__ if isinstance(table, Use) else ()
    for name in sorted(table.__struct_fields__, key=lambda name: name in used):  # who, then what they used
        value = getattr(table, name)
        if name in table.column_lists:
            labels = range(len(value)) if counters is None else counters
            columns |= {f"{name}[{label}]": column for label, column in zip(labels, value, strict=True)}
        elif value or name not in table.optional:
            columns[name] = value
    cells = {name: [str(cell) for cell in column] for name, column in columns.items()}
    widths = [max(map(len, (name, *texts))) for name, texts in cells.items()]
    numeric = [isinstance(column, Column) for column in columns.values()]
    for line_cells in zip(*([name, *texts] for name, texts in cells.items()), strict=True):
        yield "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line_cells, widths, numeric, strict=True)
        ).rstrip()
