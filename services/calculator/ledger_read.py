# SPDX-License-Identifier: Apache-2.0
"""The state that a ledger's document holds. Pure; the counterpart of `ledger_write`."""

from collections.abc import Sequence

import numpy as np

from .accounts import Accounts
from .cgroup_usage import CgroupBook
from .columns import Ints, ints, rows_of
from .gpu_usage import GpuBook
from .idle import Bin, IdlePower
from .ledger_names import fixed_before, fixed_from
from .ledger_slots import slots_from
from .ledger_tables import NO_ROW, LedgerDocument, RowsTable, WorkloadsTable
from .meter import Meter, Point
from .model import PowerModel
from .partition import Curve, Partition
from .state import State
from .timeline import Timeline, Window
from .workloads import Workload
from .zone import Reported, Zone


def from_document(document: LedgerDocument) -> State:
    """The state.

    Raises ValueError, IndexError or OverflowError if the document's parts contradict each other, or hold a
    number that the books can't.
    """
    state = State(document.epoch)
    state.zones.zones, state.zones.partition = _zones(document), _partition(document)
    state.zones.slots = slots_from(document.candidates, document.candidate_points, document.slots_now_ns)
    for _zone in state.zones.zones:
        state.accounts.add_zone()
    account = document.unattributed
    state.accounts.unattributed_uj = {
        (zone_row, mode, reason): energy_uj
        for zone_row, mode, reason, energy_uj in zip(
            account.zone_row, account.mode, account.reason, account.energy_uj, strict=True
        )
    }
    workloads = _open_workloads(state, document.workloads)
    _names(document, state)
    rows = _open_rows(state, document.rows)
    _usage(document, state, rows)
    state.acceptance.last = state.usage.node_use()
    _gpu_usage(document, state.gpu_usage)
    accounts = np.concatenate((workloads, rows))
    for gpu, window in _windows(document, accounts, state.order()):
        timeline = state.gpu_timelines.setdefault(gpu, Timeline()) if gpu else state.timeline
        timeline.windows.append(window)
    _check(state)
    return state


def _zones(document: LedgerDocument) -> dict[tuple[str, str, str], Zone]:
    table = document.zones
    points: list[list[Point]] = [[] for _zone in range(len(table))]
    for zone_row, *point in zip(
        document.points.zone_row, document.points.mono_ns, document.points.energy_uj, strict=True
    ):
        points[zone_row].append((point[0], point[1]))
    zones = [
        Zone(
            name,
            number,
            Meter(
                table.epoch[number],
                table.watermark_ns[number],
                table.attributed_uj[number],
                points[number],
                gaps=table.meter_gaps[number],
                interpolation_uj=table.interpolation_uj[number],
                join_skew_ns=table.join_skew_ns[number],
                read_ns=table.read_ns[number],
                read_uj=table.read_uj[number],
            ),
            table.provenance[number],
            table.model[number],
            table.error_ratio_ppm[number],
            _reported(number, table.gaps, table.told_gaps, table.base_gaps),
            table.measured_uj[number],
            table.idle_uj[number],
            table.idle_remainder[number],
            IdlePower({}, table.least_uw[number], table.least_use_ppm[number] - 1),
            PowerModel.from_floats(document.models[number]),
            table.share_by[number],
            reading_interval_ns=table.reading_interval_ns[number] if table.reading_interval_ns else 0,
            missed=table.missed[number] if table.missed else 0,
            stream=table.stream[number] if table.stream else "",
            takeovers=table.takeovers[number] if table.takeovers else 0,
            integration=_reported(
                number, table.integration_uj, table.told_integration_uj, table.base_integration_uj
            ),
        )
        for number, name in enumerate(zip(table.zone, table.index, table.source, strict=True))
    ]
    bins = document.bins
    for zone_row, number, *sums in zip(
        bins.zone_row, bins.bin, bins.time_ns, bins.energy_uj, bins.busy_ns, bins.capacity_ns, strict=True
    ):
        zones[zone_row].idle_seen.bins[number] = Bin(*sums)
    return {zone.name: zone for zone in zones}


def _reported(number: int, *columns: Sequence[int]) -> Reported:
    """A zone's figure from its columns, which older ledgers may not have."""
    return Reported(*(column[number] if column else 0 for column in columns))


def _partition(document: LedgerDocument) -> Partition:
    table = document.curves
    names = list(zip(table.zone, table.index, table.source, strict=True))
    between: list[list[Point]] = [[] for _curve in names]
    points = document.curve_points
    for row, mono_ns, energy_uj in zip(points.curve_row, points.mono_ns, points.energy_uj, strict=True):
        between[row].append((mono_ns, energy_uj))
    return Partition(
        document.other_source,
        document.other_index,
        document.other_epoch,
        document.other_is_told,
        document.other_bound_ns,
        document.other_remainder_uj,
        document.other_uj,
        {
            name: Curve(
                table.epoch[row],
                sorted(
                    {
                        (table.mono_ns[row], table.energy_uj[row]),
                        *between[row],
                        (table.newest_ns[row], table.newest_uj[row]),
                    }
                ),
                table.base_uj[row],
                table.begun_ns[row] if table.begun_ns else table.mono_ns[row],
            )
            for row, name in enumerate(names)
        },
        {name for name, listed in zip(names, table.listed, strict=True) if listed},
        {name: listed - 1 for name, listed in zip(names, table.listed, strict=True) if listed},
        document.other_next_source,
        document.other_next_index,
        document.other_until_ns,
        document.other_forgotten_ns,
    )


def _open_workloads(state: State, table: WorkloadsTable) -> Ints:
    """The accounts of the workloads, by row."""
    units = table.unit or [""] * len(table)
    opened = [
        state.workloads.add(
            Workload(
                table.container_id[number],
                table.pod_uid[number],
                table.vm_id[number],
                units[number],
                table.runtime[number],
                number,
                state.accounts.open(),
                table.last_seen_ns[number],
                table.cpu_request_m[number],
            )
        ).account
        for number in range(len(table))
    ]
    return _filled(state.accounts, np.array(opened, np.int64), table)


def _names(document: LedgerDocument, state: State) -> None:
    if document.has_names:
        state.fixed_names = fixed_from(
            document.fixed_containers,
            document.fixed_pods,
            document.fixed_pod_labels,
            document.fixed_machines,
            document.fixed_awaited,
        )
    else:
        table = document.workloads
        names = dict(zip(table.container_id, table.container_name, strict=False))
        state.fixed_names = fixed_before(state.workloads, names)


def _open_rows(state: State, table: RowsTable) -> Ints:
    """The accounts of the processes, by row."""
    keys = zip(table.cgroup_id, table.pid, table.start_ticks, strict=True)
    opened = [
        state.rows.open(key, state.workloads.get(workload_row))
        for key, workload_row in zip(keys, table.workload_row, strict=True)
    ]
    state.rows.widen()
    state.rows.comm[opened] = table.comm
    return _filled(state.accounts, np.array(opened, np.int64), table)


def _filled(accounts: Accounts, opened: Ints, table: WorkloadsTable | RowsTable) -> Ints:
    accounts.cpu_ns[opened] = ints(table.cpu_ns)
    for totals, columns in ((accounts.dynamic_uj, table.dynamic_uj), (accounts.idle_uj, table.idle_uj)):
        totals[:, opened] = rows_of(columns, len(opened))
    return opened


def _usage(document: LedgerDocument, state: State, rows: Ints) -> None:
    usage, lanes, table = state.usage, document.lanes, document.raw_cgroups
    usage.epoch, usage.mono_ns = document.usage_epoch, document.usage_mono_ns
    names = [(name, socket - 1) for name, socket in zip(lanes.name, lanes.socket, strict=True)]
    for lane, column in zip(names, document.rows.raw, strict=True):
        usage.raw[lane] = np.zeros(state.accounts.capacity, np.int64)
        usage.raw[lane][rows] = ints(column)
    books = [CgroupBook() for _counter in document.counters]
    for row, book_row in enumerate(table.counter_row):
        book, place = books[book_row], (table.cgroup_id[row], table.socket[row] - 1)
        for bit, figures, column in (
            (1, book.own, table.own),
            (2, book.departed, table.departed),
            (4, book.lost, table.lost),
        ):
            if table.has[row] & bit:
                figures[place] = column[row]
        if table.owed[row]:
            book.owed[place] = table.owed[row]
    usage.cgroups = dict(zip(document.counters, books, strict=True))
    usage.parents = dict(zip(document.parents.cgroup_id, document.parents.parent_id, strict=True))


def _gpu_usage(document: LedgerDocument, gpu: GpuBook) -> None:
    use = document.gpu_use
    gpu.epoch = document.gpu_epoch
    gpu.read_ns = dict(zip(document.gpu_read.index, document.gpu_read.read_ns, strict=True))
    for index, pid, start, busy_ns in zip(use.index, use.pid, use.start_ticks, use.busy_ns, strict=True):
        gpu.raw.setdefault(index, {})[pid, start] = busy_ns


def _windows(document: LedgerDocument, accounts: Ints, order: Ints) -> list[tuple[str, Window]]:
    table, features = document.windows, document.features
    names = list(zip(features.name, (socket - 1 for socket in features.socket), strict=True))
    account_rows = ints(document.window_use.account_row)
    charged = np.zeros(len(account_rows), np.int64)  # nobody
    charged[account_rows != NO_ROW] = accounts[account_rows[account_rows != NO_ROW]]
    amounts = rows_of(document.window_use.amounts, len(account_rows))
    told: list[list[int]] = [[] for _window in range(len(table))]
    for window_row, feature_row in zip(document.told.window_row, document.told.feature_row, strict=True):
        told[window_row].append(feature_row)
    found = []
    end = 0
    for row in range(len(table)):
        start, end = end, end + table.accounts[row]
        # What was charged to an account that has been handed over since is its heir's.
        unique, places = np.unique(charged[start:end], return_inverse=True)
        in_order = np.argsort(order[unique], kind="stable")
        use = {}
        for feature_row in told[row]:
            column = np.zeros(len(unique), np.int64)
            np.add.at(column, places, amounts[feature_row, start:end])
            use[names[feature_row]] = column[in_order]
        found.append(
            (
                table.gpu[row],
                Window(table.start_ns[row], table.end_ns[row], table.gap[row], {}, unique[in_order], use),
            )
        )
    for window_row, socket, capacity_ns in zip(
        document.capacity.window_row, document.capacity.socket, document.capacity.capacity_ns, strict=True
    ):
        found[window_row][1].capacity_ns[socket - 1] = capacity_ns
    if end != len(account_rows):
        raise ValueError(f"windows: expected {end} accounts in use, got {len(account_rows)}")
    return found


def _check(state: State) -> None:
    """The books in a ledger close, and owners have zones in them, or it is not to be trusted."""
    accounts = state.accounts
    for one in state.zones.slots.owners():
        if one.is_counted and one.name not in state.zones.zones:
            raise ValueError(
                f"candidate {'/'.join(one.name)} of {one.stream}: expected a zone of it, got none"
            )
    for zone in state.zones.zones.values():
        given_uj = int(accounts.dynamic_uj[zone.number].sum() + accounts.idle_uj[zone.number].sum())
        left_uj = sum(
            energy_uj
            for (number, _mode, _reason), energy_uj in accounts.unattributed_uj.items()
            if number == zone.number
        )
        if given_uj + left_uj != zone.measured_uj:
            raise ValueError(
                f"zone {'/'.join(zone.name)}: expected {zone.measured_uj} µJ in the accounts, as measured, "
                f"got {given_uj + left_uj}"
            )
