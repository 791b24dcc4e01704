# SPDX-License-Identifier: Apache-2.0
"""The calculator's whole state as one typed document, for the two-slot file. Pure; `ledger_read` undoes it.

Committed before each publication, so a calculator that is killed goes on exactly where the world last saw it.
"""

from itertools import chain

import numpy as np

from wattline.wire.columns import U8, U32, U64

from .accounts import NOBODY
from .columns import Ints, grown, u32, u64
from .energy_frame import unattributed_table
from .gpu_usage import GpuBook
from .ledger_names import fixed_tables
from .ledger_slots import U32_MAX, U64_MAX, candidate_points_table, candidates_table
from .ledger_tables import (
    LEDGER_SCHEMA,
    NO_ROW,
    BinsTable,
    CapacityTable,
    CurvePointsTable,
    CurvesTable,
    FeaturesTable,
    GpuReadTable,
    GpuTable,
    LanesTable,
    LedgerDocument,
    ParentsTable,
    PointsTable,
    RawCgroupsTable,
    RowsTable,
    ToldTable,
    WindowsTable,
    WindowUse,
    WorkloadsTable,
    ZonesTable,
)
from .partition import Partition
from .state import State
from .usage import UsageBook
from .workloads import Workload
from .zone import Zone


def to_document(state: State, node: str, boot_id: str) -> LedgerDocument:
    """The state as a document."""
    zones = list(state.zones.zones.values())
    workloads = list(state.workloads.by_identity.values())
    rows = state.rows.accounts()
    partition, gpu = state.zones.partition, state.gpu_usage
    windows, told, capacity, features, use = _window_tables(state, workloads, rows)
    return LedgerDocument(
        ledger_schema=LEDGER_SCHEMA,
        node=node,
        boot_id=boot_id,
        epoch=state.epoch,
        usage_epoch=state.usage.epoch,
        usage_mono_ns=state.usage.mono_ns,
        zones=_zones_table(zones),
        points=_points_table(zones),
        bins=_bins_table(zones),
        models=[zone.power_model.to_floats() for zone in zones],
        unattributed=unattributed_table(state.accounts),
        workloads=_workloads_table(state, workloads),
        rows=_rows_table(state, workloads, rows),
        lanes=_lanes_table(state.usage),
        counters=list(state.usage.cgroups),
        raw_cgroups=_raw_cgroups_table(state.usage),
        parents=ParentsTable(
            cgroup_id=U64(state.usage.parents.keys()), parent_id=U64(state.usage.parents.values())
        ),
        windows=windows,
        told=told,
        capacity=capacity,
        features=features,
        window_use=use,
        gpu_epoch=gpu.epoch,
        gpu_use=_gpu_table(gpu),
        gpu_read=GpuReadTable(index=list(gpu.read_ns), read_ns=U64(gpu.read_ns.values())),
        other_source=partition.source,
        other_index=partition.index,
        other_epoch=partition.epoch,
        other_is_told=partition.is_told,
        other_bound_ns=partition.bound_ns,
        other_remainder_uj=partition.remainder_uj,
        other_uj=partition.other_uj,
        curves=_curves_table(partition),
        curve_points=_curve_points_table(partition),
        candidates=candidates_table(state.zones.slots),
        candidate_points=candidate_points_table(state.zones.slots),
        other_next_source=partition.next_source,
        other_next_index=partition.next_index,
        other_until_ns=partition.until_ns,
        other_forgotten_ns=partition.forgotten_ns,
        slots_now_ns=state.zones.slots.now_ns,
        has_names=True,
        **fixed_tables(state.fixed_names),
    )


def _zones_table(zones: list[Zone]) -> ZonesTable:
    return ZonesTable(
        zone=[zone.name[0] for zone in zones],
        index=[zone.name[1] for zone in zones],
        source=[zone.name[2] for zone in zones],
        provenance=[zone.provenance for zone in zones],
        model=[zone.model for zone in zones],
        share_by=[zone.share_by for zone in zones],
        error_ratio_ppm=U32(zone.error_ratio_ppm for zone in zones),
        epoch=U64(zone.meter.epoch for zone in zones),
        watermark_ns=U64(zone.meter.watermark_ns for zone in zones),
        attributed_uj=U64(zone.meter.attributed_uj for zone in zones),
        read_ns=U64(zone.meter.read_ns for zone in zones),
        read_uj=U64(zone.meter.read_uj for zone in zones),
        interpolation_uj=U64(zone.meter.interpolation_uj for zone in zones),
        join_skew_ns=U64(zone.meter.join_skew_ns for zone in zones),
        meter_gaps=U32(zone.meter.gaps for zone in zones),
        gaps=U32(min(zone.gaps.before, U32_MAX) for zone in zones),
        told_gaps=U32(zone.gaps.now for zone in zones),
        base_gaps=U32(zone.gaps.base for zone in zones),
        integration_uj=U64(min(zone.integration.before, U64_MAX) for zone in zones),
        told_integration_uj=U64(zone.integration.now for zone in zones),
        base_integration_uj=U64(zone.integration.base for zone in zones),
        stream=[zone.stream for zone in zones],
        takeovers=U32(min(zone.takeovers, U32_MAX) for zone in zones),
        reading_interval_ns=U64(zone.reading_interval_ns for zone in zones),
        missed=U32(zone.missed for zone in zones),
        measured_uj=U64(zone.measured_uj for zone in zones),
        idle_uj=U64(zone.idle_uj for zone in zones),
        idle_remainder=U64(zone.idle_remainder for zone in zones),
        least_uw=U64(zone.idle_seen.least_uw for zone in zones),
        least_use_ppm=U32(zone.idle_seen.least_use_ppm + 1 for zone in zones),
    )


def _points_table(zones: list[Zone]) -> PointsTable:
    points = [(zone.number, *point) for zone in zones for point in zone.meter.points]
    return PointsTable(
        zone_row=U32(number for number, _ns, _uj in points),
        mono_ns=U64(mono_ns for _number, mono_ns, _uj in points),
        energy_uj=U64(energy_uj for _number, _ns, energy_uj in points),
    )


def _bins_table(zones: list[Zone]) -> BinsTable:
    bins = [(zone, number, seen) for zone in zones for number, seen in sorted(zone.idle_seen.bins.items())]
    return BinsTable(
        zone_row=U32(zone.number for zone, _number, _seen in bins),
        bin=U32(number for _zone, number, _seen in bins),
        time_ns=U64(seen.time_ns for _zone, _number, seen in bins),
        energy_uj=U64(seen.energy_uj for _zone, _number, seen in bins),
        busy_ns=U64(seen.busy_ns for _zone, _number, seen in bins),
        capacity_ns=U64(seen.capacity_ns for _zone, _number, seen in bins),
    )


def _workloads_table(state: State, workloads: list[Workload]) -> WorkloadsTable:
    own = np.array([one.account for one in workloads], np.int64)
    return WorkloadsTable(
        container_id=[one.container_id for one in workloads],
        pod_uid=[one.pod_uid for one in workloads],
        vm_id=[one.vm_id for one in workloads],
        runtime=[one.runtime for one in workloads],
        last_seen_ns=U64(one.last_seen_ns for one in workloads),
        cpu_request_m=U32(one.cpu_request_m for one in workloads),
        cpu_ns=u64(state.accounts.cpu_ns[own]),
        dynamic_uj=[u64(totals[own]) for totals in state.accounts.dynamic_uj],
        idle_uj=[u64(totals[own]) for totals in state.accounts.idle_uj],
        unit=[one.unit for one in workloads],
    )


def _rows_table(state: State, workloads: list[Workload], accounts: Ints) -> RowsTable:
    rows = state.rows
    row_of_number = np.zeros(len(state.workloads.by_number), np.int64)
    row_of_number[[one.number for one in workloads]] = np.arange(len(workloads))
    raw = [grown(column, state.accounts.capacity) for column in state.usage.raw.values()]
    return RowsTable(
        workload_row=u32(row_of_number[rows.workload[accounts]]),
        cgroup_id=u64(rows.cgroup_id[accounts]),
        pid=u32(rows.pid[accounts]),
        start_ticks=u64(rows.start_ticks[accounts]),
        comm=rows.comm[accounts].tolist(),
        cpu_ns=u64(state.accounts.cpu_ns[accounts]),
        dynamic_uj=[u64(totals[accounts]) for totals in state.accounts.dynamic_uj],
        idle_uj=[u64(totals[accounts]) for totals in state.accounts.idle_uj],
        raw=[u64(column[accounts]) for column in raw],
    )


def _lanes_table(usage: UsageBook) -> LanesTable:
    return LanesTable(
        name=[name for name, _socket in usage.raw], socket=U32(socket + 1 for _name, socket in usage.raw)
    )


def _raw_cgroups_table(usage: UsageBook) -> RawCgroupsTable:
    entries = [
        (row, place, book)
        for row, book in enumerate(usage.cgroups.values())
        for place in {**book.own, **book.departed, **book.lost, **book.owed}
    ]
    return RawCgroupsTable(
        counter_row=U32(row for row, _place, _book in entries),
        cgroup_id=U64(cgroup_id for _row, (cgroup_id, _socket), _book in entries),
        socket=U32(socket + 1 for _row, (_cgroup_id, socket), _book in entries),
        has=U8(
            (place in book.own) + 2 * (place in book.departed) + 4 * (place in book.lost)
            for _row, place, book in entries
        ),
        own=U64(book.own.get(place, 0) for _row, place, book in entries),
        departed=U64(book.departed.get(place, 0) for _row, place, book in entries),
        lost=U64(book.lost.get(place, 0) for _row, place, book in entries),
        owed=U64(book.owed.get(place, 0) for _row, place, book in entries),
    )


def _gpu_table(gpu: GpuBook) -> GpuTable:
    entries = [
        (index, pid, start, busy_ns)
        for index, processes in gpu.raw.items()
        for (pid, start), busy_ns in processes.items()
    ]
    return GpuTable(
        index=[entry[0] for entry in entries],
        pid=U32(entry[1] for entry in entries),
        start_ticks=U64(entry[2] for entry in entries),
        busy_ns=U64(entry[3] for entry in entries),
    )


def _curves_table(partition: Partition) -> CurvesTable:
    names, curves = list(partition.curves), list(partition.curves.items())
    return CurvesTable(
        zone=[name[0] for name, _curve in curves],
        index=[name[1] for name, _curve in curves],
        source=[name[2] for name, _curve in curves],
        listed=U32(partition.missed.get(name, 0) + 1 if name in partition.listed else 0 for name in names),
        epoch=U64(curve.epoch for _name, curve in curves),
        base_uj=U64(curve.base_uj for _name, curve in curves),
        mono_ns=U64(curve.points[0][0] for _name, curve in curves),
        energy_uj=U64(curve.points[0][1] for _name, curve in curves),
        newest_ns=U64(curve.points[-1][0] for _name, curve in curves),
        newest_uj=U64(curve.points[-1][1] for _name, curve in curves),
        begun_ns=U64(curve.begun_ns for _name, curve in curves),
    )


def _curve_points_table(partition: Partition) -> CurvePointsTable:
    points = [
        (row, *point) for row, curve in enumerate(partition.curves.values()) for point in curve.points[1:-1]
    ]
    return CurvePointsTable(
        curve_row=U32(row for row, _ns, _uj in points),
        mono_ns=U64(mono_ns for _row, mono_ns, _uj in points),
        energy_uj=U64(energy_uj for _row, _ns, energy_uj in points),
    )


def _window_tables(
    state: State, workloads: list[Workload], rows: Ints
) -> tuple[WindowsTable, ToldTable, CapacityTable, FeaturesTable, WindowUse]:
    account_row = np.full(state.accounts.capacity, NO_ROW, np.int64)
    account_row[[one.account for one in workloads]] = np.arange(len(workloads))
    account_row[rows] = len(workloads) + np.arange(len(rows))
    account_row[NOBODY] = NO_ROW
    pending = [("", window) for window in state.timeline.windows]
    for index, timeline in state.gpu_timelines.items():
        pending += [(index, window) for window in timeline.windows]
    windows = [window for _gpu, window in pending]
    features = sorted({feature for window in windows for feature in window.use})
    charged = [account_row[state.accounts.forward[window.accounts]] for window in windows]
    amounts = [
        np.concatenate(
            [window.use.get(feature, np.zeros(len(window.accounts), np.int64)) for window in windows]
        )
        for feature in features
    ]
    return (
        WindowsTable(
            gpu=[gpu for gpu, _window in pending],
            start_ns=U64(window.start_ns for window in windows),
            end_ns=U64(window.end_ns for window in windows),
            gap=[window.gap for window in windows],
            accounts=U32(len(window.accounts) for window in windows),
        ),
        ToldTable(
            window_row=U32(row for row, window in enumerate(windows) for _feature in window.use),
            feature_row=U32(features.index(feature) for window in windows for feature in window.use),
        ),
        CapacityTable(
            window_row=U32(row for row, window in enumerate(windows) for _socket in window.capacity_ns),
            socket=U32(socket + 1 for window in windows for socket in window.capacity_ns),
            capacity_ns=U64(chain.from_iterable(window.capacity_ns.values() for window in windows)),
        ),
        FeaturesTable(
            name=[name for name, _socket in features], socket=U32(socket + 1 for _name, socket in features)
        ),
        WindowUse(
            account_row=u32(np.concatenate(charged)) if charged else U32(),
            amounts=[u64(column) for column in amounts],
        ),
    )
