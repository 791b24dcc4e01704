# SPDX-License-Identifier: Apache-2.0
"""From cumulative activity frames to windows of use. Pure; formula 2 in docs/attribution.md."""

from dataclasses import dataclass, field

from wattline.wire.frames import Activity

# (cgroup id, pid, start in clock ticks): the finest row there is. pid 0 stands for what a cgroup used beyond
# its listed processes, and cgroup 0 for time that found no row at all.
Key = tuple[int, int, int]
LOST: Key = (0, 0, 0)


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
    cgroups: dict[int, int] = field(default_factory=dict)
    # By cgroup: how much more its processes were charged than itself; the two tables aren't read in the same
    # instant. Owed time is taken from its next unlisted time, so the skew never adds up.
    owed_ns: dict[int, int] = field(default_factory=dict)
    lost_ns: int = 0

    def advance(self, activity: Activity) -> Use | None:
        """The use since the last frame; None for a frame that is not newer."""
        begins_anew = activity.epoch != self.epoch
        start_ns = max(self.mono_ns, activity.epoch) if begins_anew else self.mono_ns
        if activity.mono_ns <= start_ns:
            return None
        gap = ""
        if begins_anew:
            gap = "probe_gap" if self.epoch else "no_activity"
            self.processes, self.cgroups, self.owed_ns, self.lost_ns = {}, {}, {}, 0
        used_ns: dict[Key, int] = {}
        in_cgroup_ns = self._advance_processes(activity, used_ns)
        self._advance_cgroups(activity, in_cgroup_ns, used_ns)
        lost_ns = sum(activity.cpus.lost_ns)
        if lost_ns > self.lost_ns:
            used_ns[LOST] = lost_ns - self.lost_ns
        self.epoch, self.mono_ns, self.lost_ns = activity.epoch, activity.mono_ns, lost_ns
        return Use(start_ns, activity.mono_ns, gap, len(activity.cpus), used_ns)

    def _advance_processes(self, activity: Activity, used_ns: dict[Key, int]) -> dict[int, int]:
        """Adds each process's use; returns it summed by cgroup."""
        rows = activity.processes
        current: dict[Key, int] = {}
        for key, cpu_ns in zip(
            zip(rows.cgroup_id, rows.pid, rows.start_ticks, strict=True), rows.cpu_ns, strict=True
        ):
            # Two processes with one pid and one start tick can't be told apart: their times are summed.
            current[key] = current.get(key, 0) + cpu_ns
        in_cgroup_ns: dict[int, int] = {}
        before = self.processes
        for key, cpu_ns in current.items():
            used = cpu_ns - before.get(key, 0)
            if used > 0:
                used_ns[key] = used
                in_cgroup_ns[key[0]] = in_cgroup_ns.get(key[0], 0) + used
        self.processes = current
        return in_cgroup_ns

    def _advance_cgroups(
        self, activity: Activity, in_cgroup_ns: dict[int, int], used_ns: dict[Key, int]
    ) -> None:
        current = dict(zip(activity.cgroups.cgroup_id, activity.cgroups.cpu_ns, strict=True))
        for cgroup_id, cpu_ns in current.items():
            unlisted_ns = (
                cpu_ns
                - self.cgroups.get(cgroup_id, 0)
                - in_cgroup_ns.get(cgroup_id, 0)
                - self.owed_ns.get(cgroup_id, 0)
            )
            if unlisted_ns > 0:
                used_ns[unlisted(cgroup_id)] = unlisted_ns
                self.owed_ns.pop(cgroup_id, None)
            elif unlisted_ns < 0:
                self.owed_ns[cgroup_id] = -unlisted_ns
            else:
                self.owed_ns.pop(cgroup_id, None)
        self.cgroups = current
        self.owed_ns = {cgroup_id: ns for cgroup_id, ns in self.owed_ns.items() if cgroup_id in current}
