# SPDX-License-Identifier: Apache-2.0
"""From cumulative activity frames to windows of use. Pure; formula 2 in docs/attribution.md."""

from dataclasses import dataclass, field

from wattline.wire.frames import Activity

from .cgroup_usage import CgroupBook
from .removed_cgroups import LOST_TIME

# (cgroup id, pid, start in clock ticks): the finest row there is. pid 0 stands for what a cgroup used beyond
# its listed processes, and cgroup 0 for time that found no row at all.
Key = tuple[int, int, int]
LOST: Key = (LOST_TIME, 0, 0)


def unlisted(cgroup_id: int) -> Key:
    """The row of a cgroup's time that no listed process accounts for."""
    return (cgroup_id, 0, 0)


@dataclass
class Use:
    """Who used how much CPU time between two samples. `gap` says why nothing is known right before."""

    start_ns: int
    end_ns: int
    gap: str
    cpu_count: int
    used_ns: dict[Key, int]


@dataclass
class UsageBook:
    """The last raw counters, to take differences from.

    Starting from nothing, counters begin at 0 when their epoch began, so the first window covers all that
    the probe has seen.
    """

    epoch: int = 0
    mono_ns: int = 0
    processes: dict[Key, int] = field(default_factory=dict)
    cgroups: CgroupBook = field(default_factory=CgroupBook)

    def advance(self, activity: Activity) -> Use | None:
        """The use since the last frame; None for a frame that is not newer."""
        begins_anew = activity.epoch != self.epoch
        start_ns = max(self.mono_ns, activity.epoch) if begins_anew else self.mono_ns
        if activity.mono_ns <= start_ns:
            return None
        gap = ""
        if begins_anew:
            gap = "probe_gap" if self.epoch else "no_activity"
            self.processes, self.cgroups = {}, CgroupBook()
        used_ns = self._advance_processes(activity)
        in_cgroup_ns: dict[int, int] = {}
        for key, ns in used_ns.items():
            in_cgroup_ns[key[0]] = in_cgroup_ns.get(key[0], 0) + ns
        for cgroup_id, ns in self.cgroups.advance(activity, in_cgroup_ns).items():
            used_ns[unlisted(cgroup_id)] = ns
        self.epoch, self.mono_ns = activity.epoch, activity.mono_ns
        return Use(start_ns, activity.mono_ns, gap, len(activity.cpus), used_ns)

    def _advance_processes(self, activity: Activity) -> dict[Key, int]:
        """What each process used."""
        rows = activity.processes
        current: dict[Key, int] = {}
        for key, cpu_ns in zip(
            zip(rows.cgroup_id, rows.pid, rows.start_ticks, strict=True), rows.cpu_ns, strict=True
        ):
            # A row for each socket. And two processes with one pid and one start tick can't be told apart.
            current[key] = current.get(key, 0) + cpu_ns
        before, self.processes = self.processes, current
        return {
            key: cpu_ns - before.get(key, 0) for key, cpu_ns in current.items() if cpu_ns > before.get(key, 0)
        }
