# SPDX-License-Identifier: Apache-2.0
"""The books as the tables of an energy frame. Pure; formula 7 in docs/attribution.md."""

from typing import Any

from wattline.wire.columns import U32, U64
from wattline.wire.frames import EnergyContainers, EnergyProcesses, EnergyUnattributed, EnergyZones

from .books import Books
from .names import Names
from .zones import Zones


def energy_tables(zones: Zones, books: Books, names: Names) -> dict[str, Any]:
    """The tables by field name: zones, unattributed, containers, processes."""
    return {
        "zones": _zones(zones),
        "unattributed": _unattributed(books),
        "containers": _containers(books),
        "processes": _processes(books, names),
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


def _containers(books: Books) -> EnergyContainers:
    rows = list(books.containers.values())
    number = {container: row for row, container in enumerate(rows)}
    cpu_ns = U64(container.departed_cpu_ns for container in rows)
    dynamic_uj = [U64(c.departed_dynamic_uj[zone] for c in rows) for zone in range(books.zone_count)]
    idle_uj = [U64(c.departed_idle_uj[zone] for c in rows) for zone in range(books.zone_count)]
    departed_cpu_ns = U64(cpu_ns)
    departed_dynamic_uj = [U64(column) for column in dynamic_uj]
    departed_idle_uj = [U64(column) for column in idle_uj]
    for process in books.rows.values():
        row = number[process.container]
        cpu_ns[row] += process.cpu_ns
        for zone in range(books.zone_count):
            dynamic_uj[zone][row] += process.dynamic_uj[zone]
            idle_uj[zone][row] += process.idle_uj[zone]
    return EnergyContainers(
        container_id=[container.container_id for container in rows],
        pod_uid=[container.pod_uid for container in rows],
        runtime=[container.runtime for container in rows],
        cpu_ns=cpu_ns,
        departed_cpu_ns=departed_cpu_ns,
        dynamic_uj=dynamic_uj,
        idle_uj=idle_uj,
        departed_dynamic_uj=departed_dynamic_uj,
        departed_idle_uj=departed_idle_uj,
    )


def _processes(books: Books, names: Names) -> EnergyProcesses:
    rows = list(books.rows.values())
    number = {container: row for row, container in enumerate(books.containers.values())}
    return EnergyProcesses(
        container_row=U32(number[row.container] for row in rows),
        cgroup_id=U64(row.key[0] for row in rows),
        pid=U32(row.key[1] for row in rows),
        start_ticks=U64(row.key[2] for row in rows),
        comm=[names.comm.get(row.key[1:], "") for row in rows],
        cpu_ns=U64(row.cpu_ns for row in rows),
        dynamic_uj=[U64(row.dynamic_uj[zone] for row in rows) for zone in range(books.zone_count)],
        idle_uj=[U64(row.idle_uj[zone] for row in rows) for zone in range(books.zone_count)],
    )
