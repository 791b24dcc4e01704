# SPDX-License-Identifier: Apache-2.0
"""The calculator's whole state as one typed document, for the two-slot file. Pure.

Committed before each publication, so a calculator that is killed goes on exactly where the world last saw it.
"""

from typing import Any

from wattline.wire.columns import U32, U64
from wattline.wire.frames import EnergyUnattributed

from .books import NOBODY, Container, Row, Target
from .cgroup_usage import CgroupBook
from .columns import per_zone
from .idle import Bin, IdlePower
from .ledger_tables import (
    LEDGER_SCHEMA,
    NO_ROW,
    BinsTable,
    ContainersTable,
    LedgerDocument,
    ParentsTable,
    RawCgroupsTable,
    RawDepartedTable,
    RawProcessesTable,
    RowsTable,
    WindowsTable,
    WindowUseTable,
    ZonesTable,
)
from .meter import Meter
from .state import State
from .timeline import Timeline, Window
from .usage import UsageBook
from .zones import Zone


def to_document(state: State, node: str, boot_id: str) -> LedgerDocument:
    """The state as a document."""
    zones = list(state.zones.zones.values())
    containers = list(state.books.containers.values())
    rows = list(state.books.rows.values())
    bins = [(zone, number, seen) for zone in zones for number, seen in sorted(zone.idle_power.bins.items())]
    account = sorted(state.books.unattributed_uj.items())
    usage = state.usage
    return LedgerDocument(
        ledger_schema=LEDGER_SCHEMA,
        node=node,
        boot_id=boot_id,
        epoch=state.epoch,
        usage_epoch=usage.epoch,
        usage_mono_ns=usage.mono_ns,
        usage_lost_ns=usage.cgroups.lost_ns,
        zones=ZonesTable(
            zone=[zone.name[0] for zone in zones],
            index=[zone.name[1] for zone in zones],
            source=[zone.name[2] for zone in zones],
            provenance=[zone.provenance for zone in zones],
            model=[zone.model for zone in zones],
            error_ratio_ppm=U32(zone.error_ratio_ppm for zone in zones),
            epoch=U64(zone.meter.epoch for zone in zones),
            watermark_ns=U64(zone.meter.watermark_ns for zone in zones),
            attributed_uj=U64(zone.meter.attributed_uj for zone in zones),
            meter_gaps=U32(zone.meter.gaps for zone in zones),
            gaps=U32(zone.gaps for zone in zones),
            measured_uj=U64(zone.measured_uj for zone in zones),
            idle_uj=U64(zone.idle_uj for zone in zones),
            idle_remainder=U64(zone.idle_remainder for zone in zones),
        ),
        bins=BinsTable(
            zone_row=U32(zone.number for zone, _number, _seen in bins),
            bin=U32(number for _zone, number, _seen in bins),
            time_ns=U64(seen.time_ns for _zone, _number, seen in bins),
            energy_uj=U64(seen.energy_uj for _zone, _number, seen in bins),
            busy_ns=U64(seen.busy_ns for _zone, _number, seen in bins),
            capacity_ns=U64(seen.capacity_ns for _zone, _number, seen in bins),
        ),
        unattributed=EnergyUnattributed(
            zone_row=U32(zone for (zone, _mode, _reason), _uj in account),
            mode=[mode for (_zone, mode, _reason), _uj in account],
            reason=[reason for (_zone, _mode, reason), _uj in account],
            energy_uj=U64(energy_uj for _account, energy_uj in account),
        ),
        containers=ContainersTable(
            container_id=[container.container_id for container in containers],
            pod_uid=[container.pod_uid for container in containers],
            runtime=[container.runtime for container in containers],
            departed_cpu_ns=U64(container.departed_cpu_ns for container in containers),
            departed_dynamic_uj=per_zone([c.departed_dynamic_uj for c in containers], len(zones)),
            departed_idle_uj=per_zone([c.departed_idle_uj for c in containers], len(zones)),
        ),
        rows=_rows_table(rows, len(zones)),
        raw_processes=RawProcessesTable(
            cgroup_id=U64([key[0] for key in usage.processes]),
            pid=U32([key[1] for key in usage.processes]),
            start_ticks=U64([key[2] for key in usage.processes]),
            cpu_ns=U64(list(usage.processes.values())),
        ),
        **_cgroup_tables(usage.cgroups),
        windows=WindowsTable(
            start_ns=U64(window.start_ns for window in state.timeline.windows),
            end_ns=U64(window.end_ns for window in state.timeline.windows),
            gap=[window.gap for window in state.timeline.windows],
            capacity_ns=U64(window.capacity_ns for window in state.timeline.windows),
        ),
        window_use=_window_use_table(state.timeline, rows),
    )


def _cgroup_tables(cgroups: CgroupBook) -> dict[str, Any]:
    owed_ns = cgroups.owed_ns
    rowless = [cgroup_id for cgroup_id in owed_ns if cgroup_id not in cgroups.own]
    departed = {**dict.fromkeys(rowless, 0), **cgroups.departed}
    return {
        "raw_cgroups": RawCgroupsTable(
            cgroup_id=U64(cgroups.own.keys()),
            cpu_ns=U64(cgroups.own.values()),
            owed_ns=U64(owed_ns.get(cgroup_id, 0) for cgroup_id in cgroups.own),
        ),
        "raw_departed": RawDepartedTable(
            cgroup_id=U64(departed.keys()),
            cpu_ns=U64(departed.values()),
            owed_ns=U64(
                0 if cgroup_id in cgroups.own else owed_ns.get(cgroup_id, 0) for cgroup_id in departed
            ),
        ),
        "parents": ParentsTable(
            cgroup_id=U64(cgroups.parents.keys()), parent_id=U64(cgroups.parents.values())
        ),
    }


def _rows_table(rows: list[Row], zone_count: int) -> RowsTable:
    return RowsTable(
        container_row=U32([row.container.number for row in rows]),
        cgroup_id=U64([row.key[0] for row in rows]),
        pid=U32([row.key[1] for row in rows]),
        start_ticks=U64([row.key[2] for row in rows]),
        cpu_ns=U64([row.cpu_ns for row in rows]),
        dynamic_uj=per_zone([row.dynamic_uj for row in rows], zone_count),
        idle_uj=per_zone([row.idle_uj for row in rows], zone_count),
    )


def _window_use_table(timeline: Timeline, rows: list[Row]) -> WindowUseTable:
    row_numbers = {row: number for number, row in enumerate(rows)}
    window_row, container_row, row_number, used = U32(), U32(), U32(), U64()
    for number, window in enumerate(timeline.windows):
        for target, used_ns in window.used_ns.items():
            window_row.append(number)
            used.append(used_ns)
            container = target.container if isinstance(target, Row) else target
            container_row.append(container.number if isinstance(container, Container) else NO_ROW)
            row_number.append(row_numbers.get(target, NO_ROW) if isinstance(target, Row) else NO_ROW)
    return WindowUseTable(window_row=window_row, container_row=container_row, row=row_number, used_ns=used)


def from_document(document: LedgerDocument) -> State:
    """The state a document holds. Raises ValueError (or IndexError) if its parts contradict each other."""
    state = State(document.epoch)
    books, zones = state.books, document.zones
    books.zone_count = len(zones)
    for number in range(len(zones)):
        zone = Zone(
            (zones.zone[number], zones.index[number], zones.source[number]),
            number,
            Meter(
                zones.epoch[number],
                zones.watermark_ns[number],
                zones.attributed_uj[number],
                [],
                zones.meter_gaps[number],
            ),
            zones.provenance[number],
            zones.model[number],
            zones.error_ratio_ppm[number],
            zones.gaps[number],
            zones.measured_uj[number],
            zones.idle_uj[number],
            zones.idle_remainder[number],
            IdlePower(),
        )
        state.zones.zones[zone.name] = zone
    by_number = list(state.zones.zones.values())
    bins = document.bins
    for zone_row, number, *sums in zip(
        bins.zone_row, bins.bin, bins.time_ns, bins.energy_uj, bins.busy_ns, bins.capacity_ns, strict=True
    ):
        by_number[zone_row].idle_power.bins[number] = Bin(*sums)
    account = document.unattributed
    books.unattributed_uj = {
        (zone_row, mode, reason): energy_uj
        for zone_row, mode, reason, energy_uj in zip(
            account.zone_row, account.mode, account.reason, account.energy_uj, strict=True
        )
    }
    containers = _containers_from(document.containers)
    books.containers = {container.container_id: container for container in containers}
    rows = _rows_from(document.rows, containers)
    books.rows = {row.key: row for row in rows}
    _usage_from(document, state.usage)
    state.timeline.windows = _windows_from(document, containers, rows)
    _check(state)
    return state


def _containers_from(table: ContainersTable) -> list[Container]:
    return [
        Container(
            table.container_id[number],
            number,
            table.pod_uid[number],
            table.runtime[number],
            table.departed_cpu_ns[number],
            [column[number] for column in table.departed_dynamic_uj],
            [column[number] for column in table.departed_idle_uj],
        )
        for number in range(len(table))
    ]


def _rows_from(table: RowsTable, containers: list[Container]) -> list[Row]:
    return [
        Row(
            (table.cgroup_id[number], table.pid[number], table.start_ticks[number]),
            containers[table.container_row[number]],
            table.cpu_ns[number],
            [column[number] for column in table.dynamic_uj],
            [column[number] for column in table.idle_uj],
        )
        for number in range(len(table))
    ]


def _usage_from(document: LedgerDocument, usage: UsageBook) -> None:
    usage.epoch, usage.mono_ns = document.usage_epoch, document.usage_mono_ns
    processes, own = document.raw_processes, document.raw_cgroups
    departed, parents = document.raw_departed, document.parents
    usage.processes = dict(
        zip(
            zip(processes.cgroup_id, processes.pid, processes.start_ticks, strict=True),
            processes.cpu_ns,
            strict=True,
        )
    )
    usage.cgroups = CgroupBook(
        own=dict(zip(own.cgroup_id, own.cpu_ns, strict=True)),
        departed=dict(zip(departed.cgroup_id, departed.cpu_ns, strict=True)),
        parents=dict(zip(parents.cgroup_id, parents.parent_id, strict=True)),
        lost_ns=document.usage_lost_ns,
        owed_ns={
            cgroup_id: owed_ns
            for table in (own, departed)
            for cgroup_id, owed_ns in zip(table.cgroup_id, table.owed_ns, strict=True)
            if owed_ns
        },
    )


def _windows_from(document: LedgerDocument, containers: list[Container], rows: list[Row]) -> list[Window]:
    table, use = document.windows, document.window_use
    windows = [
        Window(table.start_ns[number], table.end_ns[number], table.gap[number], table.capacity_ns[number], {})
        for number in range(len(table))
    ]
    for window_row, container_row, row, used_ns in zip(
        use.window_row, use.container_row, use.row, use.used_ns, strict=True
    ):
        target: Target = NOBODY
        if row != NO_ROW:
            target = rows[row]
        elif container_row != NO_ROW:
            target = containers[container_row]
        used = windows[window_row].used_ns
        used[target] = used.get(target, 0) + used_ns
    return windows


def _check(state: State) -> None:
    """The books in a ledger close, or it is not to be trusted."""
    for zone in state.zones.zones.values():
        given_uj = sum(
            row.dynamic_uj[zone.number] + row.idle_uj[zone.number] for row in state.books.rows.values()
        )
        departed_uj = sum(
            container.departed_dynamic_uj[zone.number] + container.departed_idle_uj[zone.number]
            for container in state.books.containers.values()
        )
        left_uj = sum(
            energy_uj
            for (number, _mode, _reason), energy_uj in state.books.unattributed_uj.items()
            if number == zone.number
        )
        if given_uj + departed_uj + left_uj != zone.measured_uj:
            raise ValueError(
                f"zone {'/'.join(zone.name)}: expected {zone.measured_uj} µJ in the accounts, as measured, "
                f"got {given_uj + departed_uj + left_uj}"
            )
