# SPDX-License-Identifier: Apache-2.0
"""A cgroup tree on paper, as the probe accounts for it: births, use, removals, and rows that move up."""

from collections import Counter
from dataclasses import dataclass, field

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    CGROUP_DEPARTED,
    Activity,
    ActivityCgroups,
    ActivityPaths,
    ActivityProcesses,
    Cpus,
)

from .world import S, header

ROOT = 1
EPOCH_NS = 1000 * S


@dataclass
class CgroupTree:
    """Truth, and the tables that stand for it. What used nothing has no row, and no path in frames."""

    now_ns: int = EPOCH_NS
    used_ns: int = 0  # the truth
    lost_ns: int = 0
    seq: int = 0
    paths: dict[int, str] = field(default_factory=lambda: {ROOT: "/"})
    parents: dict[int, int] = field(default_factory=lambda: {ROOT: 0})
    removed: set[int] = field(default_factory=set)
    own: Counter = field(default_factory=Counter)  # by (cgroup id, socket)
    departed: Counter = field(default_factory=Counter)
    processes: Counter = field(default_factory=Counter)  # by (cgroup id, pid, socket)

    def alive(self) -> list[int]:
        return [cgroup_id for cgroup_id in self.paths if cgroup_id not in self.removed]

    def children(self, parent: int) -> list[int]:
        return [child for child in self.alive() if self.parents[child] == parent]

    def born(self, parent: int = ROOT) -> int:
        cgroup_id = 10 + len(self.parents)  # never given out again
        self.parents[cgroup_id] = parent
        self.paths[cgroup_id] = f"{self.paths[parent].rstrip('/')}/c{cgroup_id}"
        return cgroup_id

    def use(self, cgroup_id: int, ns: int, pid: int = 0, socket: int = 0) -> None:
        """CPU time; of a process that is listed, unless `pid` is 0."""
        self.own[cgroup_id, socket] += ns
        self.used_ns += ns
        if pid:
            self.processes[cgroup_id, pid, socket] += ns

    def end(self, pid: int) -> None:
        """The rows of a process go."""
        for key in [key for key in self.processes if key[1] == pid]:
            del self.processes[key]

    def remove(self, cgroup_id: int) -> None:
        assert cgroup_id != ROOT
        assert not self.children(cgroup_id)
        self.removed.add(cgroup_id)

    def fold(self, cgroup_id: int, *, table_is_full: bool = False) -> None:
        """What becomes of a removed cgroup's rows after a minute."""
        assert cgroup_id in self.removed
        for rows in (self.own, self.departed):
            for key in [key for key in rows if key[0] == cgroup_id]:
                ns = rows.pop(key)
                if table_is_full:
                    self.lost_ns += ns
                else:
                    self.departed[self.parents[cgroup_id], key[1]] += ns
        self.paths.pop(cgroup_id, None)

    def fold_all(self) -> None:
        for cgroup_id in sorted(self.removed & self.paths.keys(), reverse=True):  # children are younger
            self.fold(cgroup_id)

    def activity(self, unread: tuple[tuple[int, int, int], ...] = ()) -> Activity:
        """The frame of this moment.

        `unread`: (cgroup, pid, ns) each, used after the cgroups' table is read and before the processes'.
        """
        self.seq += 1
        self.now_ns += S
        own, departed, lost_ns = dict(self.own), dict(self.departed), self.lost_ns
        for cgroup_id, pid, ns in unread:
            self.use(cgroup_id, ns, pid)
        rows = [(*key, 0, ns) for key, ns in own.items()]
        rows += [(*key, CGROUP_DEPARTED, ns) for key, ns in departed.items()]
        listed = sorted({row[0] for row in rows})
        processes = sorted(self.processes.items())
        return Activity(
            **header("probe", self.seq, self.now_ns, EPOCH_NS),
            source="ebpf",
            skew_ns=0,
            cpus=Cpus(
                cpu=U32([0]),
                start_mono_ns=U64([EPOCH_NS]),
                stamp_mono_ns=U64([self.now_ns]),
                idle_ns=U64([0]),
                lost_ns=U64([lost_ns]),
            ),
            cgroups=ActivityCgroups(
                cgroup_id=U64(row[0] for row in rows),
                socket=U32(row[1] for row in rows),
                flags=U8(row[2] for row in rows),
                cpu_ns=U64(row[3] for row in rows),
            ),
            processes=ActivityProcesses(
                cgroup_id=U64(key[0] for key, _ns in processes),
                pid=U32(key[1] for key, _ns in processes),
                socket=U32(key[2] for key, _ns in processes),
                start_ticks=U64(7 for _row in processes),
                flags=U8(0 for _row in processes),
                cpu_ns=U64(ns for _key, ns in processes),
                comm=["p" for _row in processes],
            ),
            paths=ActivityPaths(
                cgroup_id=U64(listed),
                parent_id=U64(self.parents[cgroup_id] for cgroup_id in listed),
                removed=U8(cgroup_id in self.removed for cgroup_id in listed),
                path=[self.paths.get(cgroup_id, "") for cgroup_id in listed],
            ),
        )
