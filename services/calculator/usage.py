# SPDX-License-Identifier: Apache-2.0
"""From cumulative activity frames to what was used between them. Pure; formula 2 in docs/attribution.md."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from wattline.node_use import NodeUse
from wattline.wire.frames import CGROUP_DEPARTED, Activity
from wattline.wire.frames import Use as UseTable

from .cgroup_usage import CgroupBook
from .columns import Ints, grown, ints
from .removed_cgroups import LOST_TIME, Amounts, Parents, Place, only_needed, parents_in

# A raw counter on one socket: the counter's name, as the table's field or COUNTER.field of a hardware
# counter, and the socket, NO_SOCKET where the publisher tells none.
Lane = tuple[str, int]
NO_SOCKET = -1
CPU_TIME = "cpu_ns"
PROBE_GAP = "probe_gap"
_SINGLE = (CPU_TIME, "frequency_cycles")
_COUNTED = ("counts", "counts_enabled_ns", "counts_running_ns")
# Those hardware counters that some zone goes by.
_COUNTERS = ("cycles", "instructions", "cache_misses")


@dataclass
class RawUse:
    """What was used between two samples, by lane. `gap` says why nothing is known right before."""

    start_ns: int
    end_ns: int
    gap: str
    capacity_ns: dict[int, int]  # CPU time there was, by socket
    by_account: dict[Lane, Ints]  # dense: by account number
    unlisted: dict[Lane, dict[int, int]]  # by cgroup id: beyond its listed processes


@dataclass
class UsageBook:
    """The last raw counters, to take differences from.

    Starting from nothing, counters begin at 0 when their epoch began, so the first window covers all that
    the probe has seen.
    """

    epoch: int = 0
    mono_ns: int = 0
    raw: dict[Lane, Ints] = field(default_factory=dict)  # by account number; 0 where none is listed
    cgroups: dict[str, CgroupBook] = field(default_factory=dict)  # by counter
    parents: Parents = field(default_factory=dict)
    gap: str = ""  # why nothing is known right before `mono_ns`

    def node_use(self) -> NodeUse | None:
        """Use of the node up to the last frame; None before the first."""
        if not self.epoch:
            return None
        book = self.cgroups.get(CPU_TIME, CgroupBook())
        busy_ns = sum(sum(figures.values()) for figures in (book.own, book.departed, book.lost))
        return NodeUse(self.mono_ns, busy_ns, self.epoch)

    def growth_ns(self, activity: Activity, accounts: Ints) -> int:
        """CPU time of a frame's process rows since the last frame.

        `accounts`: of each row, below 0 for a row that has none yet.
        """
        table = activity.processes
        cpu_ns, before_ns = ints(table.cpu_ns), np.zeros(len(table), np.int64)
        sockets = ints(table.socket) if table.socket else np.full(len(table), NO_SOCKET)
        for (name, socket), totals in self.raw.items() if activity.epoch == self.epoch else ():
            if name == CPU_TIME:
                known = (sockets == socket) & (accounts >= 0) & (accounts < len(totals))
                before_ns[known] = totals[accounts[known]]
        return int(np.maximum(cpu_ns - before_ns, 0).sum())

    def begin_at(self, activity: Activity, accounts: Ints, capacity: int) -> None:
        """Go on from a frame that contradicts all earlier ones; what was used up to it is not known."""
        self.raw = dict(_process_lanes(activity, accounts, capacity))
        own, departed = _cgroup_amounts(activity, departed=False), _cgroup_amounts(activity, departed=True)
        names = {CPU_TIME} | {name for name, _socket in self.raw} | own.keys() | departed.keys()
        self.cgroups = {
            name: CgroupBook(
                own.get(name, {}), departed.get(name, {}), _lost(activity) if name == CPU_TIME else {}
            )
            for name in names
        }
        self.parents = parents_in(activity.paths)
        self.epoch, self.mono_ns = activity.epoch, activity.mono_ns
        self.gap = PROBE_GAP

    def _start_ns(self, activity: Activity) -> int:
        return self.mono_ns if activity.epoch == self.epoch else max(self.mono_ns, activity.epoch)

    def advance(self, activity: Activity, accounts: Ints, cgroup_ids: Ints) -> RawUse:
        """The use since the last frame.

        `accounts`: the account of each of the frame's process rows. `cgroup_ids`: by account number, for all
        there are.
        """
        start_ns = self._start_ns(activity)
        begins_anew = activity.epoch != self.epoch
        gap = (PROBE_GAP if self.epoch else "no_activity") if begins_anew else self.gap
        before_raw, before_cgroups = ({}, {}) if begins_anew else (self.raw, self.cgroups)
        raw = dict(_process_lanes(activity, accounts, len(cgroup_ids)))
        own, departed = _cgroup_amounts(activity, departed=False), _cgroup_amounts(activity, departed=True)
        self.parents = ({} if begins_anew else self.parents) | parents_in(activity.paths)
        use = RawUse(start_ns, activity.mono_ns, gap, _capacity_ns(activity, start_ns), {}, {})
        counters = {name for name, _socket in raw} | own.keys() | departed.keys()
        cgroups: dict[str, CgroupBook] = {}
        # Without any rows a frame does not say what the probe counts.
        for name in sorted({CPU_TIME} | (counters or before_cgroups.keys())):
            is_new = name not in before_cgroups and not begins_anew
            book = cgroups[name] = before_cgroups.get(name) or CgroupBook()
            lanes = {lane for lane in before_raw.keys() | raw.keys() if lane[0] == name}
            gained = {
                lane: _growth(before_raw.get(lane), raw.get(lane), len(cgroup_ids)) for lane in sorted(lanes)
            }
            lost = _lost(activity) if name == CPU_TIME else {}
            unlisted = book.advance(
                own.get(name, {}), departed.get(name, {}), lost, _sums(cgroup_ids, gained), self.parents
            )
            if is_new:
                continue  # what it has counted is of other windows, too
            use.by_account |= gained
            for (cgroup_id, socket), amount in unlisted.items():
                use.unlisted.setdefault((name, socket), {})[cgroup_id] = amount
        self.raw, self.cgroups = raw, cgroups
        listed = {
            cgroup_id for tables in (own, departed) for amounts in tables.values() for cgroup_id, _ in amounts
        }
        self.parents = only_needed(self.parents, listed)
        self.epoch, self.mono_ns, self.gap = activity.epoch, activity.mono_ns, ""
        return use


def _process_lanes(activity: Activity, accounts: Ints, capacity: int) -> Iterator[tuple[Lane, Ints]]:
    """The cumulative counters of processes: by account number, for each lane."""
    for socket, rows in _by_socket(activity.processes):
        for name, column in _columns(activity.processes, activity.counters):
            totals = np.zeros(capacity, np.int64)
            # Two processes with one pid and one start can't be told apart, and are summed.
            np.add.at(totals, accounts[rows], column[rows])
            yield (name, socket), totals


def _cgroup_amounts(activity: Activity, *, departed: bool) -> dict[str, Amounts]:
    """The same of cgroups, for each counter: their own rows, or their departed ones."""
    table = activity.cgroups
    flags = ints(table.flags) if table.flags else np.zeros(len(table), np.int64)
    chosen = np.flatnonzero(((flags & CGROUP_DEPARTED) != 0) == departed)
    if not len(chosen):
        return {}
    sockets = ints(table.socket) if table.socket else np.full(len(table), NO_SOCKET)
    places = list(zip(ints(table.cgroup_id)[chosen].tolist(), sockets[chosen].tolist(), strict=True))
    found: dict[str, Amounts] = {}
    for name, column in _columns(table, activity.counters):
        amounts = found[name] = dict.fromkeys(places, 0)
        for place, value in zip(places, column[chosen].tolist(), strict=True):
            amounts[place] += value
    return found


def _columns(table: UseTable, counters: list[str]) -> Iterator[tuple[str, Ints]]:
    for name in _SINGLE:
        if column := getattr(table, name):
            yield name, ints(column)
    for number, counter in enumerate(counters):
        if counter in _COUNTERS:
            for name in _COUNTED:
                yield f"{counter}.{name}", ints(getattr(table, name)[number])


def _by_socket(table: UseTable) -> Iterator[tuple[int, np.typing.NDArray[np.bool_]]]:
    """(socket, which rows) for each socket."""
    sockets = ints(table.socket) if table.socket else np.full(len(table), NO_SOCKET)
    # Not np.unique, which would import numpy.ma: a megabyte more for the whole run.
    for socket in sorted(set(sockets.tolist())):
        yield socket, sockets == socket


def _lost(activity: Activity) -> Amounts:
    """CPU time that found no row."""
    cpus = activity.cpus
    lost: Amounts = {}
    for socket, lost_ns in zip(cpus.socket or [NO_SOCKET] * len(cpus), cpus.lost_ns, strict=True):
        lost[LOST_TIME, socket] = lost.get((LOST_TIME, socket), 0) + lost_ns
    return lost


def _capacity_ns(activity: Activity, start_ns: int) -> dict[int, int]:
    cpus = activity.cpus
    capacity_ns: dict[int, int] = {}
    are_told = activity.processes.socket or activity.cgroups.socket
    for socket in (are_told and cpus.socket) or [NO_SOCKET] * len(cpus):
        capacity_ns[socket] = capacity_ns.get(socket, 0) + activity.mono_ns - start_ns
    return capacity_ns


def _growth(before: Ints | None, now: Ints | None, capacity: int) -> Ints:
    """Differences by account; who is not listed now, or has fallen, used nothing."""
    if now is None:
        return np.zeros(capacity, np.int64)
    if before is None:
        return now
    gained: Ints = np.maximum(now - (before if len(before) == capacity else grown(before, capacity)), 0)
    return gained


def _sums(cgroup_ids: Ints, gained: dict[Lane, Ints]) -> Amounts:
    """Sums by cgroup of what processes used."""
    found: dict[Place, int] = {}
    for (_name, socket), amounts in gained.items():
        users = np.flatnonzero(amounts)
        if not len(users):
            continue
        users = users[np.argsort(cgroup_ids[users], kind="stable")]
        ids = cgroup_ids[users]
        firsts = np.flatnonzero(np.diff(ids, prepend=ids[0] - 1))
        sums = np.add.reduceat(amounts[users], firsts)
        for cgroup_id, amount in zip(ids[firsts].tolist(), sums.tolist(), strict=True):
            found[cgroup_id, socket] = amount
    return found
