# SPDX-License-Identifier: Apache-2.0
"""The books of the procfs backend, closed with each reading: CPUs, cgroups and processes. Pure.

Where the kernel's accounts contradict each other, cgroups come first (cpu.stat is exact), then idle time
(which some kernels only sample), and the root cgroup has what is left. So, in each frame and exactly,

    Σ cgroups + Σ idle = Σ CPUs (stamp - start - offline)
"""

from wattline.wire.frames import Activity

from .cgroups import CgroupBook
from .cpus import CpuBook
from .processes import ProcessBook
from .reading import Reading
from .share import share
from .state import ProcfsState

UNEXPLAINED = "unexplained_ns"  # in the frame's losses


class ProcfsTables:
    """Everything published, cumulative since the state's epoch."""

    def __init__(self, state: ProcfsState, ticks_per_s: int, previous: Activity | None = None) -> None:
        """Going on from a frame of the state's epoch, or without one as at the epoch itself."""
        self.cpus = CpuBook(state.epoch, state.cpu_bases_ns())
        self.cgroups = CgroupBook(state.root_id, state.cgroup_bases_ns())
        self.processes = ProcessBook(state.root_id, ticks_per_s, state.process_bases_ns())
        self.unexplained_ns = 0
        if previous is not None:
            self.cpus.restore(previous)
            self.cgroups.restore(previous)
            self.unexplained_ns = previous.losses.get(UNEXPLAINED, 0)
            self.processes.restore(previous, self.cgroups.root_ns - self.unexplained_ns)

    def advance(self, reading: Reading) -> None:
        """Take a reading into all books."""
        elapsed_ns, idle_wanted_ns = self.cpus.observe(reading)
        left_ns = elapsed_ns - self.cgroups.advance(reading, elapsed_ns)
        idle_ns = share(idle_wanted_ns, left_ns)
        self.cpus.add_idle(idle_ns, reading)
        self.cgroups.charge_root(left_ns - sum(idle_ns.values()))
        self._advance_processes(reading)

    def retire(self, before_ns: int) -> int:
        """Let go of what ended or was removed before a time; how many processes that were."""
        self.cgroups.fold(before_ns)
        return self.processes.retire(before_ns)

    def _advance_processes(self, reading: Reading) -> None:
        """Processes within their cgroups; what is in the root and nobody's is the gap that /proc leaves."""
        members = self._in_rows(reading)
        self.processes.advance(reading, members, self.cgroups.gained_ns)
        gap_ns = self.cgroups.root_ns - self.processes.in_root_ns
        self.unexplained_ns = max(self.unexplained_ns, gap_ns)

    def _in_rows(self, reading: Reading) -> dict[int, int]:
        """By pid its cgroup; for one that has no row, as it went while we read, its nearest ancestor."""
        homes = {
            cgroup_id: self.cgroups.nearest(cgroup_id, reading) for cgroup_id in set(reading.members.values())
        }
        if all(cgroup_id == home for cgroup_id, home in homes.items()):
            return reading.members
        return {pid: homes[cgroup_id] for pid, cgroup_id in reading.members.items()}
