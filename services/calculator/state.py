# SPDX-License-Identifier: Apache-2.0
"""Everything the calculator remembers, and the steps that change it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from wattline.wire.columns import Column
from wattline.wire.frames import Activity, Power
from wattline.wire.table import Table

from .acceptance import Acceptance, Judgement
from .accounts import NOBODY, Accounts
from .attribute import Members
from .columns import ImpossibleError, Ints, ints, largest
from .features import features
from .fixed_names import FixedNames
from .gpu_usage import GpuBook, GpuWindow
from .intake import Intake
from .names import Names
from .removed_cgroups import LOST_TIME
from .rows import Found, Rows
from .rules import Rules
from .timeline import Feature, Timeline, Window, joined
from .usage import NO_SOCKET, RawUse, UsageBook
from .workloads import UNKNOWN, Owner, Workloads
from .zones import Timelines, Zones

_SUM_MAX = 2**61
_SOCKETS_MAX = 256
_NO_COUNTERS = ("cgroup_id", "pid", "start_ticks", "start_mono_ns", "stamp_mono_ns", "flags", "cpu", "socket")


@dataclass
class State:
    """What the ledger holds. `epoch`: CLOCK_MONOTONIC when these books were opened."""

    epoch: int
    usage: UsageBook = field(default_factory=UsageBook)
    gpu_usage: GpuBook = field(default_factory=GpuBook)
    accounts: Accounts = field(default_factory=Accounts)
    workloads: Workloads = field(init=False)
    rows: Rows = field(init=False)
    zones: Zones = field(init=False)
    intake: Intake = field(init=False)
    acceptance: Acceptance = field(init=False)
    timeline: Timeline = field(default_factory=Timeline)
    gpu_timelines: dict[str, Timeline] = field(default_factory=dict)
    fixed_names: FixedNames = field(default_factory=FixedNames)

    def __post_init__(self) -> None:
        self.workloads = Workloads(self.accounts)
        self.rows = Rows(self.accounts, self.workloads)
        self.acceptance = Acceptance()
        self.zones = Zones(self.accounts)
        self.intake = Intake(self.zones)

    def take_activity(self, activity: Activity, names: Names) -> None:
        """Book the CPU time of a frame; its energy follows when the meters have covered it.

        Raises ImpossibleError for numbers that no machine can have reached, before anything is changed.
        """
        if self.acceptance.is_late(activity):
            return
        found = self.rows.find(activity)
        self._check_room(activity, found)
        judgement = self.acceptance.judge(activity, self.usage.growth_ns(activity, found.accounts))
        located = self.rows.locate(activity, found, names)
        self.acceptance.accept(activity)
        if judgement is Judgement.CONTRADICTS:
            self.usage.begin_at(activity, located, len(self.rows.cgroup_id))
            return
        raw = self.usage.advance(activity, located, self.rows.cgroup_id)
        window = self._window(raw, names)
        self._charge_cpu_time(window)
        self._see(located, window, activity.mono_ns)
        if names.cpu_request_m is not None:
            for workload in self.workloads.by_identity.values():
                workload.cpu_request_m = names.cpu_request_m.get(workload.container_id, 0)
        self.rows.widen()
        self.timeline.add(window)

    def _check_room(self, activity: Activity, found: Found) -> None:
        """Raise ImpossibleError for what the books can't hold."""
        for table in (activity.cpus, activity.cgroups, activity.processes):
            check_sums(table)
        columns = [
            table.socket for table in (activity.processes, activity.cgroups, activity.cpus) if table.socket
        ]
        # Counted only where numbers tell that there may be so many: there are thousands of rows.
        is_many = any(largest(column) >= _SOCKETS_MAX for column in columns)
        if is_many and len(sockets := {socket for column in columns for socket in column}) > _SOCKETS_MAX:
            raise ImpossibleError(
                f"socket: expected at most {_SOCKETS_MAX} different ones, got {len(sockets)}"
            )
        if not self.accounts.has_room(accounts=len(found.keys) + len(self.workloads)):
            raise ImpossibleError(
                f"processes: expected fewer rows beside {len(self.zones.zones)} zones, got {len(found.keys)}"
            )

    def take_power(self, power: Power, rules: Rules) -> int:
        """Take readings; how many were refused because a cumulative energy fell, or can't be.

        Raises ImpossibleError as above.
        """
        check_sums(power.gpu_use)
        refused = self.intake.read(power, rules)
        owned = {
            one.name[1]
            for one in self.zones.slots.owners()
            if one.stream == power.producer and one.name[0] == "gpu"
        }
        self.gpu_usage.take(power, owned)
        return refused

    def tick(self, now_ns: int, rules: Rules) -> int:
        """Notice power streams that have stopped; how many readings were refused, as above."""
        return self.intake.tick(now_ns, rules)

    def attribute(self, rules: Rules) -> bool:
        """Give away what meters and activity both cover; whether there was any."""
        for window in self.gpu_usage.windows(self.usage.mono_ns):
            self.gpu_timelines.setdefault(window.gpu, Timeline()).add(self._gpu_window(window))
        members: list[Members] = []

        def members_now() -> Members:
            if not members:
                members.append(self._members())
            return members[0]

        timelines = Timelines(self.timeline, self.gpu_timelines, self._joined)
        advanced = self.zones.attribute(timelines, members_now, rules)
        self._drop(self.timeline, self.zones.watermarks_ns())
        for index, timeline in self.gpu_timelines.items():
            self._drop(timeline, self.zones.watermarks_ns(of_gpu=index))
        pending = [self.timeline, *self.gpu_timelines.values()]
        self.accounts.reuse_closed(window.accounts for timeline in pending for window in timeline.windows)
        return advanced

    def fold_ended(self, rules: Rules) -> None:
        """Fold workloads that ended long ago. To be done right before the books are shown.

        Else one that comes back might be seen with less than before, and never without.
        """
        self.workloads.fold_ended(self.usage.mono_ns, rules.terminated_keep_ns)
        self.rows.widen()

    def settle_names(self, names: Names, now_ns: int) -> None:
        """Fix what workloads are called. To be done right before the books are shown.

        `now_ns`: CLOCK_MONOTONIC.
        """
        self.fixed_names.settle(self.workloads.alive(), names, now_ns)

    def order(self) -> Ints:
        """By account, its place in the canonical order: workloads by name, then processes by pid."""
        order = self.workloads.order(self.accounts.capacity)
        rows = self.rows.accounts()
        columns = (self.rows.start_ticks, self.rows.cgroup_id, self.rows.pid)
        in_order = rows[np.lexsort([column[rows] for column in columns])]
        order[in_order] = len(self.workloads) + np.arange(len(in_order))
        return order

    def _window(self, raw: RawUse, names: Names) -> Window:
        """Whose accounts some use goes to: rows have their own, unlisted use is its workload's."""
        unlisted = [
            (lane, self._account_of_unlisted(cgroup_id, names, raw.end_ns), amount)
            for lane, amounts in raw.unlisted.items()
            for cgroup_id, amount in amounts.items()
        ]
        capacity = self.accounts.capacity
        self.rows.widen()
        dense = {}
        for lane, amounts in raw.by_account.items():
            dense[lane] = np.zeros(capacity, np.int64)
            dense[lane][: len(amounts)] = amounts
        for lane, account, amount in unlisted:
            dense.setdefault(lane, np.zeros(capacity, np.int64))[account] += amount
        return self._sorted_window(raw.start_ns, raw.end_ns, raw.gap, raw.capacity_ns, features(dense))

    def _sorted_window(
        self, start_ns: int, end_ns: int, gap: str, capacity_ns: Mapping[int, int], dense: dict[Feature, Ints]
    ) -> Window:
        used = np.flatnonzero(np.any(list(dense.values()), axis=0)) if dense else np.zeros(0, np.int64)
        used = used[np.argsort(self.order()[used], kind="stable")]
        use = {feature: amounts[used] for feature, amounts in dense.items()}
        return Window(start_ns, end_ns, gap, dict(capacity_ns), used, use)

    def _account_of_unlisted(self, cgroup_id: int, names: Names, now_ns: int) -> int:
        if cgroup_id == LOST_TIME:
            return NOBODY
        owner = names.owner(cgroup_id, 0, 0, is_kernel=False)
        return self.workloads.workload(owner, now_ns).account

    def _gpu_window(self, window: GpuWindow) -> Window:
        of_processes = self.rows.of_processes() if window.busy_ns else {}
        charged = []
        for (pid, start), busy_ns in window.busy_ns.items():
            near = [(pid, start), (pid, start - 1), (pid, start + 1)]  # ±1 tick is the same
            account = next((of_processes[key] for key in near if key in of_processes), None)
            if account is None:
                owner = Owner(UNKNOWN)
                account = self.workloads.workload(owner, window.end_ns).account
            charged.append((account, busy_ns))
        dense = np.zeros(self.accounts.capacity, np.int64)
        for account, busy_ns in charged:
            dense[account] += busy_ns
        self.rows.widen()
        capacity_ns = {NO_SOCKET: window.end_ns - window.start_ns}
        return self._sorted_window(
            window.start_ns, window.end_ns, "", capacity_ns, {("gpu_time", NO_SOCKET): dense}
        )

    def _charge_cpu_time(self, window: Window) -> None:
        cpu_ns = window.of("cpu_time", None)
        if cpu_ns is not None:
            self.accounts.charge_cpu(window.accounts, cpu_ns)

    def _see(self, located: Ints, window: Window, now_ns: int) -> None:
        """Note which workloads are alive: with listed processes, or with use."""
        has_rows = np.zeros(len(self.workloads.by_number), np.bool_)
        has_rows[self.rows.workload[located]] = True
        is_charged = np.zeros(self.accounts.capacity, np.bool_)
        is_charged[window.accounts] = True
        for workload in self.workloads.by_identity.values():
            if has_rows[workload.number] or is_charged[workload.account]:
                workload.last_seen_ns = now_ns

    def _members(self) -> Members:
        rows = self.rows.accounts()
        order = self.order()
        first = self.workloads.first_of_idle_share()
        places = order[self.workloads.accounts()]
        rows = rows[np.lexsort([order[rows], places[first[self.rows.workload[rows]]]])]
        numbers = first[self.rows.workload[rows]]
        starts = np.flatnonzero(np.diff(numbers, prepend=-1))
        counts = np.diff(starts, append=len(rows))
        present = [self.workloads.get(number) for number in numbers[starts].tolist()]
        # In canonical order the parts of a container, one for each machine in it, stand together.
        containers = [list(parts) for _id, parts in groupby(present, lambda one: one.container_id)]
        return Members(
            rows,
            counts,
            np.array([len(parts) for parts in containers], np.int64),
            np.array([parts[0].cpu_request_m for parts in containers], np.int64),
        )

    def _drop(self, timeline: Timeline, watermarks_ns: list[int]) -> None:
        if watermarks_ns:
            timeline.drop_until(min(watermarks_ns))
        timeline.shorten(watermarks_ns, self._joined)

    def _joined(self, run: list[Window]) -> Window:
        return joined(run, self.accounts.forward, self.order())


def check_sums(table: Table) -> None:
    """Raises ImpossibleError for counters whose sum, or other numbers which, 64 bits are not safe for."""
    for name in table.__struct_fields__:
        value = getattr(table, name)
        for column in value if name in table.column_lists else (value,):
            if not isinstance(column, Column):
                continue
            if name in _NO_COUNTERS:
                ints(column)
            else:
                total = float(np.frombuffer(column, f"u{column.itemsize}").sum(dtype=np.float64))
                if total >= _SUM_MAX:
                    raise ImpossibleError(f"{name}: expected a sum below 2^61, got {total:.3g}")
