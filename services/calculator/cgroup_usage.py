# SPDX-License-Identifier: Apache-2.0
"""What each cgroup used beyond its listed processes, removed ones below it included. Pure.

Formula 2 in docs/attribution.md: every nanosecond that the probe has charged to somebody is taken once.
"""

from dataclasses import dataclass, field

from wattline.wire.frames import Activity

from .removed_cgroups import (
    LOST_TIME,
    Parents,
    Times,
    growth,
    only_needed,
    parents_in,
    sum_rows,
    take_back,
)


@dataclass
class CgroupBook:
    """The last raw counters of cgroups, in ns by cgroup id."""

    own: Times = field(default_factory=dict)
    departed: Times = field(default_factory=dict)  # what removed cgroups below each one used
    parents: Parents = field(default_factory=dict)  # above each of these, up to the root
    lost_ns: int = 0
    # By cgroup: how much more its processes were charged than itself; the two tables aren't read in the same
    # instant. Owed time is taken from its next unlisted time, so the skew never adds up.
    owed_ns: Times = field(default_factory=dict)

    def advance(self, activity: Activity, in_processes_ns: Times) -> Times:
        """Time used since the last frame that no listed process accounts for; under LOST_TIME that in no row.

        `in_processes_ns`: what listed processes used meanwhile.
        """
        own, departed = sum_rows(activity.cgroups)
        self.parents |= parents_in(activity.paths)
        lost_ns = sum(activity.cpus.lost_ns)
        gained, gone = growth(self.departed, departed)
        gained = {LOST_TIME: max(0, lost_ns - self.lost_ns), **gained}
        owed_ns = self._settle(own, gained, gone, in_processes_ns)
        used_ns: Times = {}
        for cgroup_id in {**own, **gained}:
            ns = gained.get(cgroup_id, 0) - owed_ns.pop(cgroup_id, 0)
            if cgroup_id in own:
                ns += own[cgroup_id] - self.own.get(cgroup_id, 0) - in_processes_ns.get(cgroup_id, 0)
            if ns > 0:
                used_ns[cgroup_id] = ns
            elif ns < 0:
                owed_ns[cgroup_id] = -ns
        self.own, self.departed, self.lost_ns, self.owed_ns = own, departed, lost_ns, owed_ns
        self.parents = only_needed(self.parents, [*own, *departed])
        return used_ns

    def _settle(self, own: Times, gained: Times, gone: Times, in_processes_ns: Times) -> Times:
        """Take what was charged already of rows that have gone out of `gained`; returns what is still owed.

        A cgroup that has processes, no row, and had none, came and went within this window; or it is so new
        that its row wasn't there yet when rows were read. Then, after all that surely have gone, nobody's
        gain has room for it, and it owes until its row appears.
        """
        went: Times = dict(gone)
        new: Times = {}
        for times in (self.own, self.owed_ns, in_processes_ns):
            for cgroup_id, ns in times.items():
                if cgroup_id not in own:
                    had_row = cgroup_id in self.own or cgroup_id in self.owed_ns
                    _add(went if had_row else new, cgroup_id, ns)
        take_back(went, gained, self.parents)
        owed_ns = {cgroup_id: ns for cgroup_id, ns in self.owed_ns.items() if cgroup_id in own}
        return owed_ns | take_back(new, gained, self.parents)


def _add(times: Times, cgroup_id: int, ns: int) -> None:
    times[cgroup_id] = times.get(cgroup_id, 0) + ns
