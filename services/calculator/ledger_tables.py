# SPDX-License-Identifier: Apache-2.0
"""The ledger's tables: the calculator's whole state as columns. Units are in the names, as on the wire."""

from msgspec import Struct, field

from wattline.wire.columns import U32, U64
from wattline.wire.frames import EnergyUnattributed, Table

LEDGER_SCHEMA = 1
NO_ROW = 0xFFFF_FFFF  # in a column of row numbers: nobody


class ZonesTable(Table, kw_only=True):
    """Each zone's meter and totals; the order is that of its column everywhere."""

    zone: list[str]
    index: list[str]
    source: list[str]
    provenance: list[str]
    model: list[str]
    error_ratio_ppm: U32
    epoch: U64
    watermark_ns: U64
    attributed_uj: U64
    meter_gaps: U32
    gaps: U32
    measured_uj: U64
    idle_uj: U64
    idle_remainder: U64


class BinsTable(Table, kw_only=True):
    """What each zone's idle power was learned from."""

    zone_row: U32
    bin: U32
    time_ns: U64
    energy_uj: U64
    busy_ns: U64
    capacity_ns: U64


class ContainersTable(Table, kw_only=True):
    """Containers with what their departed processes used."""

    column_lists = frozenset({"departed_dynamic_uj", "departed_idle_uj"})

    container_id: list[str]
    pod_uid: list[str]
    runtime: list[str]
    departed_cpu_ns: U64
    departed_dynamic_uj: list[U64]
    departed_idle_uj: list[U64]


class RowsTable(Table, kw_only=True):
    """Listed processes."""

    column_lists = frozenset({"dynamic_uj", "idle_uj"})

    container_row: U32
    cgroup_id: U64
    pid: U32
    start_ticks: U64
    cpu_ns: U64
    dynamic_uj: list[U64]
    idle_uj: list[U64]


class RawProcessesTable(Table, kw_only=True):
    """The probe's last counters, to take differences from."""

    cgroup_id: U64
    pid: U32
    start_ticks: U64
    cpu_ns: U64


class RawCgroupsTable(Table, kw_only=True):
    """The same for cgroups' own rows."""

    cgroup_id: U64
    cpu_ns: U64
    owed_ns: U64


class RawDepartedTable(Table, kw_only=True):
    """The same for departed rows; and what is owed by cgroups that have none of their own."""

    cgroup_id: U64 = field(default_factory=U64)
    cpu_ns: U64 = field(default_factory=U64)
    owed_ns: U64 = field(default_factory=U64)


class ParentsTable(Table, kw_only=True):
    """Which cgroup is above which: rows go there when their cgroups are removed."""

    cgroup_id: U64 = field(default_factory=U64)
    parent_id: U64 = field(default_factory=U64)


class WindowsTable(Table, kw_only=True):
    """Use that some zone has yet to cover."""

    start_ns: U64
    end_ns: U64
    gap: list[str]
    capacity_ns: U64


class WindowUseTable(Table, kw_only=True):
    """`row` counts in RowsTable; without one the use is its container's; without a container, nobody's."""

    window_row: U32
    container_row: U32
    row: U32
    used_ns: U64


class LedgerDocument(Struct, kw_only=True):
    """Everything, as columns.

    What has a default was added later: a ledger of before had nothing to say there.
    """

    ledger_schema: int
    node: str
    boot_id: str
    epoch: int
    usage_epoch: int
    usage_mono_ns: int
    usage_lost_ns: int
    zones: ZonesTable
    bins: BinsTable
    unattributed: EnergyUnattributed
    containers: ContainersTable
    rows: RowsTable
    raw_processes: RawProcessesTable
    raw_cgroups: RawCgroupsTable
    windows: WindowsTable
    window_use: WindowUseTable
    raw_departed: RawDepartedTable = field(default_factory=RawDepartedTable)
    parents: ParentsTable = field(default_factory=ParentsTable)
