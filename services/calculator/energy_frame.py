# SPDX-License-Identifier: Apache-2.0
"""The books as the tables of an energy frame. Pure; formula 7 in docs/attribution.md."""

from bisect import bisect_left, bisect_right
from typing import Any

from wattline.wire.columns import U32, U64
from wattline.wire.frames import EnergyContainers, EnergyProcesses, EnergyUnattributed, EnergyZones

from .books import Books, Container, Row
from .columns import per_zone
from .names import Names
from .zones import Zones


def energy_tables(zones: Zones, books: Books, names: Names) -> dict[str, Any]:
    """The tables by field name: zones, unattributed, containers, processes."""
    containers = list(books.containers.values())
    # A container's processes stand together, so that its total is the sum of a slice of each column.
    rows = sorted(books.rows.values(), key=lambda row: row.container.number)
    processes = _processes(rows, books.zone_count, names)
    return {
        "zones": _zones(zones),
        "unattributed": _unattributed(books),
        "containers": _containers(containers, processes, books.zone_count),
        "processes": processes,
    }


def _zones(zones: Zones) -> EnergyZones:
    rows = list(zones.zones.values())
    return EnergyZones(
        zone=[zone.name[0] for zone in rows],
        index=[zone.name[1] for zone in rows],
        source=[zone.name[2] for zone in rows],
        provenance=[zone.provenance for zone in rows],
        model=[zone.model for zone in rows],
        error_ratio_ppm=U32(zone.error_ratio_ppm for zone in rows),
        watermark_mono_ns=U64(zone.meter.watermark_ns for zone in rows),
        measured_uj=U64(zone.measured_uj for zone in rows),
        idle_uj=U64(zone.idle_uj for zone in rows),
        idle_power_uw=U64(zone.idle_power.power_uw for zone in rows),
        gaps=U32(zone.gaps + zone.meter.gaps for zone in rows),
    )


def _unattributed(books: Books) -> EnergyUnattributed:
    accounts = sorted(books.unattributed_uj.items())
    return EnergyUnattributed(
        zone_row=U32(zone for (zone, _mode, _reason), _uj in accounts),
        mode=[mode for (_zone, mode, _reason), _uj in accounts],
        reason=[reason for (_zone, _mode, reason), _uj in accounts],
        energy_uj=U64(energy_uj for _account, energy_uj in accounts),
    )


def _containers(containers: list[Container], processes: EnergyProcesses, zone_count: int) -> EnergyContainers:
    departed_cpu_ns = U64(container.departed_cpu_ns for container in containers)
    departed_dynamic_uj = per_zone([c.departed_dynamic_uj for c in containers], zone_count)
    departed_idle_uj = per_zone([c.departed_idle_uj for c in containers], zone_count)
    members = [
        slice(
            bisect_left(processes.container_row, container.number),
            bisect_right(processes.container_row, container.number),
        )
        for container in containers
    ]

    def with_members(departed: U64, column: U64) -> U64:
        return U64(own + sum(column[part]) for own, part in zip(departed, members, strict=True))

    return EnergyContainers(
        container_id=[container.container_id for container in containers],
        pod_uid=[container.pod_uid for container in containers],
        runtime=[container.runtime for container in containers],
        cpu_ns=with_members(departed_cpu_ns, processes.cpu_ns),
        departed_cpu_ns=departed_cpu_ns,
        dynamic_uj=[*map(with_members, departed_dynamic_uj, processes.dynamic_uj)],
        idle_uj=[*map(with_members, departed_idle_uj, processes.idle_uj)],
        departed_dynamic_uj=departed_dynamic_uj,
        departed_idle_uj=departed_idle_uj,
    )


def _processes(rows: list[Row], zone_count: int, names: Names) -> EnergyProcesses:
    return EnergyProcesses(
        container_row=U32([row.container.number for row in rows]),
        cgroup_id=U64([row.key[0] for row in rows]),
        pid=U32([row.key[1] for row in rows]),
        start_ticks=U64([row.key[2] for row in rows]),
        comm=[names.comm.get(row.key[1:], "") for row in rows],
        cpu_ns=U64([row.cpu_ns for row in rows]),
        dynamic_uj=per_zone([row.dynamic_uj for row in rows], zone_count),
        idle_uj=per_zone([row.idle_uj for row in rows], zone_count),
    )
