# SPDX-License-Identifier: Apache-2.0
"""The ledger's tables: the calculator's whole state as columns. Units are in the names, as on the wire.

An *account row* counts the workloads first, then the rows; NO_ROW is nobody's account.
"""

from msgspec import Struct, field

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import EnergyUnattributed, MetadataContainers
from wattline.wire.identities import Machines, PodLabels, Pods, no_machines, no_pod_labels, no_pods
from wattline.wire.table import Table

from .ledger_names import AwaitedTable, no_awaited, no_containers
from .ledger_slots import CandidatePointsTable, CandidatesTable, no_candidate_points, no_candidates

LEDGER_SCHEMA = 2
NO_ROW = 0xFFFF_FFFF


class ZonesTable(Table, kw_only=True):
    """Each zone's meter and totals; the order is that of its column everywhere.

    `gaps` and `integration_uj` are of earlier epochs and stretches, `told_…` of the present one, which began
    at `base_…`; `least_use_ppm` is one more than the figure, 0 if there is none.
    """

    optional = frozenset(  # older ledgers have none
        {
            "reading_interval_ns",
            "missed",
            "stream",
            "takeovers",
            "base_gaps",
            "integration_uj",
            "told_integration_uj",
            "base_integration_uj",
        }
    )

    zone: list[str]
    index: list[str]
    source: list[str]
    provenance: list[str]
    model: list[str]
    share_by: list[str]
    error_ratio_ppm: U32
    epoch: U64
    watermark_ns: U64
    attributed_uj: U64
    read_ns: U64
    read_uj: U64
    interpolation_uj: U64
    join_skew_ns: U64
    meter_gaps: U32
    gaps: U32
    told_gaps: U32
    measured_uj: U64
    idle_uj: U64
    idle_remainder: U64
    least_uw: U64
    least_use_ppm: U32
    reading_interval_ns: U64 = field(default_factory=U64)
    missed: U32 = field(default_factory=U32)
    stream: list[str] = field(default_factory=list)
    takeovers: U32 = field(default_factory=U32)
    base_gaps: U32 = field(default_factory=U32)
    integration_uj: U64 = field(default_factory=U64)
    told_integration_uj: U64 = field(default_factory=U64)
    base_integration_uj: U64 = field(default_factory=U64)


class PointsTable(Table, kw_only=True):
    """Readings of each zone beyond its watermark."""

    zone_row: U32
    mono_ns: U64
    energy_uj: U64


class BinsTable(Table, kw_only=True):
    """What each zone's idle power was learned from."""

    zone_row: U32
    bin: U32
    time_ns: U64
    energy_uj: U64
    busy_ns: U64
    capacity_ns: U64


class WorkloadsTable(Table, kw_only=True):
    """Workloads with what their departed processes used."""

    column_lists = frozenset({"dynamic_uj", "idle_uj"})
    optional = frozenset({"container_name", "unit"})  # older ledgers have none

    container_id: list[str]
    pod_uid: list[str]
    vm_id: list[str]
    runtime: list[str]
    last_seen_ns: U64
    cpu_request_m: U32
    cpu_ns: U64
    dynamic_uj: list[U64]
    idle_uj: list[U64]
    container_name: list[str] = field(default_factory=list)
    unit: list[str] = field(default_factory=list)


class RowsTable(Table, kw_only=True):
    """Listed processes. `raw` has a column per lane: the probe's last counters, to take differences from."""

    column_lists = frozenset({"dynamic_uj", "idle_uj", "raw"})

    workload_row: U32
    cgroup_id: U64
    pid: U32
    start_ticks: U64
    comm: list[str]
    cpu_ns: U64
    dynamic_uj: list[U64]
    idle_uj: list[U64]
    raw: list[U64]


class LanesTable(Table, kw_only=True):
    """Which counter on which socket the columns of `raw` are.

    `socket` is one more than the number, 0 where the probe tells none.
    """

    name: list[str]
    socket: U32


class RawCgroupsTable(Table, kw_only=True):
    """Each counter's last figures of cgroups on sockets (as above), and what of it found no row.

    `has` is the sum of 1 for a row of its own, 2 for a departed one, 4 for what was lost.
    """

    counter_row: U32
    cgroup_id: U64
    socket: U32
    has: U8
    own: U64
    departed: U64
    lost: U64
    owed: U64


class ParentsTable(Table, kw_only=True):
    """Which cgroup is above which: rows go there when their cgroups are removed."""

    cgroup_id: U64
    parent_id: U64


class WindowsTable(Table, kw_only=True):
    """Use that some zone has yet to cover: of a GPU, or, without `gpu`, of the CPUs.

    `accounts`: how many of WindowUse's entries are its own.
    """

    gpu: list[str]
    start_ns: U64
    end_ns: U64
    gap: list[str]
    accounts: U32


class ToldTable(Table, kw_only=True):
    """Which features each window tells; of the others it knows nothing, which is not 0."""

    window_row: U32
    feature_row: U32


class CapacityTable(Table, kw_only=True):
    """Processor time of each window on each socket (one more than its number, 0 for none)."""

    window_row: U32
    socket: U32
    capacity_ns: U64


class FeaturesTable(Table, kw_only=True):
    """What the columns of WindowUse are; `socket` as above."""

    name: list[str]
    socket: U32


class WindowUse(Table, kw_only=True):
    """The windows' accounts, one window after the other, with a column of amounts per feature."""

    column_lists = frozenset({"amounts"})

    account_row: U32
    amounts: list[U64]


class GpuTable(Table, kw_only=True):
    """The last counters of GPU use, and when each GPU was read."""

    index: list[str]
    pid: U32
    start_ticks: U64
    busy_ns: U64


class GpuReadTable(Table, kw_only=True):
    """When each GPU was last read."""

    index: list[str]
    read_ns: U64


class CurvesTable(Table, kw_only=True):
    """The zones that `other` is the rest of: each at the time up to which that is known, and its newest.

    `listed`: 0 for a zone that has ended, else one more than the frames since the one that had it.
    """

    optional = frozenset({"begun_ns"})  # older ledgers have none

    zone: list[str]
    index: list[str]
    source: list[str]
    listed: U32
    epoch: U64
    base_uj: U64
    mono_ns: U64
    energy_uj: U64
    newest_ns: U64
    newest_uj: U64
    begun_ns: U64 = field(default_factory=U64)


class CurvePointsTable(Table, kw_only=True):
    """What lies between the two points of each curve."""

    curve_row: U32
    mono_ns: U64
    energy_uj: U64


def _no_curve_points() -> CurvePointsTable:
    return CurvePointsTable(curve_row=U32(), mono_ns=U64(), energy_uj=U64())


class LedgerHeader(Struct, kw_only=True):
    """Whose ledger it is: read first, since another version's may have other tables."""

    ledger_schema: int
    node: str = ""
    boot_id: str = ""


class LedgerDocument(LedgerHeader, kw_only=True):
    """Everything, as columns. `models`: per zone the numbers of its power model, none where it has none."""

    epoch: int
    usage_epoch: int
    usage_mono_ns: int
    zones: ZonesTable
    points: PointsTable
    bins: BinsTable
    models: list[list[float]]
    unattributed: EnergyUnattributed
    workloads: WorkloadsTable
    rows: RowsTable
    lanes: LanesTable
    counters: list[str]
    raw_cgroups: RawCgroupsTable
    parents: ParentsTable
    windows: WindowsTable
    told: ToldTable
    capacity: CapacityTable
    features: FeaturesTable
    window_use: WindowUse
    gpu_epoch: int
    gpu_use: GpuTable
    gpu_read: GpuReadTable
    other_source: str
    other_index: str
    other_epoch: int
    other_is_told: bool
    other_bound_ns: int
    other_remainder_uj: int
    other_uj: int
    curves: CurvesTable
    # From here on, what older ledgers don't have.
    curve_points: CurvePointsTable = field(default_factory=_no_curve_points)
    candidates: CandidatesTable = field(default_factory=no_candidates)
    candidate_points: CandidatePointsTable = field(default_factory=no_candidate_points)
    other_next_source: str = ""
    other_next_index: str = ""
    other_until_ns: int = 0
    other_forgotten_ns: int = 0
    slots_now_ns: int = 0
    has_names: bool = False  # whether it has the names below
    fixed_containers: MetadataContainers = field(default_factory=no_containers)
    fixed_pods: Pods = field(default_factory=no_pods)
    fixed_pod_labels: PodLabels = field(default_factory=no_pod_labels)
    fixed_machines: Machines = field(default_factory=no_machines)
    fixed_awaited: AwaitedTable = field(default_factory=no_awaited)
