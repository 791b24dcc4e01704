# SPDX-License-Identifier: Apache-2.0
"""Processes whose pid another process of the same name, container and virtual machine has taken over. Pure.

Kepler's labels can't tell the two apart. Were they added up, the series would fall when the older row
leaves the frame, and Prometheus would take that for a restart and count the younger one's energy twice. So
the older one counts as departed at once: the series begins again with the younger process, as it should.
"""

from itertools import compress

import msgspec

from wattline.wire.columns import U32, U64
from wattline.wire.frames import Energy, EnergyContainers, EnergyProcesses

from .workloads import vm_ids


def fold_superseded(energy: Energy) -> Energy:
    """The same books with superseded processes in their containers' departed columns; the sums still hold."""
    rows = superseded_rows(energy)
    if not rows:
        return energy
    return msgspec.structs.replace(
        energy, containers=_with_departed(energy, rows), processes=_without(energy.processes, rows)
    )


def superseded_rows(energy: Energy) -> set[int]:
    """The rows of processes than which there is a younger one with the same labels.

    Rows of one process in several cgroups have one start (±1 tick is the same); none of them supersedes
    another.
    """
    processes = energy.processes
    if len(set(processes.pid)) == len(processes):
        return set()
    owners = [*zip(energy.containers.container_id, vm_ids(energy.containers), strict=True)]
    keys = [
        (pid, owners[row], comm)
        for pid, row, comm in zip(processes.pid, processes.container_row, processes.comm, strict=True)
    ]
    youngest: dict[tuple[int, tuple[str, str], str], int] = {}
    for key, start_ticks in zip(keys, processes.start_ticks, strict=True):
        youngest[key] = max(start_ticks, youngest.get(key, 0))
    return {
        row
        for row, (key, start_ticks) in enumerate(zip(keys, processes.start_ticks, strict=True))
        if start_ticks + 1 < youngest[key]
    }


def _with_departed(energy: Energy, rows: set[int]) -> EnergyContainers:
    processes, containers = energy.processes, energy.containers

    def added(departed: U64, column: U64) -> U64:
        total = U64(departed)
        for row in rows:
            total[processes.container_row[row]] += column[row]
        return total

    return msgspec.structs.replace(
        containers,
        departed_cpu_ns=added(containers.departed_cpu_ns, processes.cpu_ns),
        departed_dynamic_uj=[*map(added, containers.departed_dynamic_uj, processes.dynamic_uj)],
        departed_idle_uj=[*map(added, containers.departed_idle_uj, processes.idle_uj)],
    )


def _without(processes: EnergyProcesses, rows: set[int]) -> EnergyProcesses:
    kept = [row not in rows for row in range(len(processes))]

    def u32(column: U32) -> U32:
        return U32(compress(column, kept))

    def u64(column: U64) -> U64:
        return U64(compress(column, kept))

    return EnergyProcesses(
        container_row=u32(processes.container_row),
        cgroup_id=u64(processes.cgroup_id),
        pid=u32(processes.pid),
        start_ticks=u64(processes.start_ticks),
        comm=[*compress(processes.comm, kept)],
        cpu_ns=u64(processes.cpu_ns),
        dynamic_uj=[*map(u64, processes.dynamic_uj)],
        idle_uj=[*map(u64, processes.idle_uj)],
    )
