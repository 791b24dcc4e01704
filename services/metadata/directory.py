# SPDX-License-Identifier: Apache-2.0
"""What is known about cgroups and processes, and for how long it is remembered. Pure: no I/O, no clock."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import PROCESS_KERNEL_THREAD, Activity, MetadataCgroups, MetadataProcesses

from .cgroup_path import CgroupIdentity, identify

# The dead are remembered as long as the slowest meter may still attribute to them.
REMEMBERED_NS = 300 * 1_000_000_000
# A cgroup that wasn't found is looked for again after this time, since its mount may appear.
SEARCH_AGAIN_NS = 10 * 1_000_000_000


@dataclass
class _Cgroup:
    path: str
    identity: CgroupIdentity
    seen_ns: int
    searched_ns: int


@dataclass
class _Process:
    kernel: bool
    comm: str
    seen_ns: int


@dataclass
class Directory:
    """Every cgroup and process that activity has named."""

    _cgroups: dict[int, _Cgroup] = field(default_factory=dict)
    _processes: dict[tuple[int, int], _Process] = field(default_factory=dict)

    def see(self, activity: Activity) -> None:
        """Take the processes of a frame; and keep the cgroups it names."""
        rows = activity.processes
        for pid, start_ticks, flags, comm in zip(
            rows.pid, rows.start_ticks, rows.flags, rows.comm, strict=True
        ):
            self._processes[pid, start_ticks] = _Process(
                bool(flags & PROCESS_KERNEL_THREAD), comm, activity.mono_ns
            )
        for cgroup_id in activity.cgroups.cgroup_id:
            known = self._cgroups.get(cgroup_id)
            if known is not None:
                known.seen_ns = activity.mono_ns
        self._forget(activity.mono_ns - REMEMBERED_NS)

    def unknown(self, activity: Activity) -> set[int]:
        """Cgroups of a frame that are worth a search."""
        wanted = set()
        for cgroup_id in activity.cgroups.cgroup_id:
            known = self._cgroups.get(cgroup_id)
            if known is None or (not known.path and activity.mono_ns - known.searched_ns >= SEARCH_AGAIN_NS):
                wanted.add(cgroup_id)
        return wanted

    def learn(self, wanted: Iterable[int], paths: Mapping[int, str], now_ns: int) -> None:
        """Take the result of a search; what it did not find is known to be unknown (an empty path)."""
        for cgroup_id in wanted:
            path = paths.get(cgroup_id, "")
            self._cgroups[cgroup_id] = _Cgroup(path, identify(path), now_ns, now_ns)

    def cgroups(self) -> MetadataCgroups:
        """As the metadata frame has them, by id."""
        rows = sorted(self._cgroups.items())
        return MetadataCgroups(
            cgroup_id=U64(cgroup_id for cgroup_id, _cgroup in rows),
            path=[cgroup.path for _id, cgroup in rows],
            container_id=[cgroup.identity.container_id for _id, cgroup in rows],
            runtime=[cgroup.identity.runtime for _id, cgroup in rows],
            pod_uid=[cgroup.identity.pod_uid for _id, cgroup in rows],
        )

    def processes(self) -> MetadataProcesses:
        """As the metadata frame has them, by (pid, start)."""
        rows = sorted(self._processes.items())
        return MetadataProcesses(
            pid=U32(pid for (pid, _start), _process in rows),
            start_ticks=U64(start for (_pid, start), _process in rows),
            kernel=U8(process.kernel for _key, process in rows),
            comm=[process.comm for _key, process in rows],
        )

    def _forget(self, before_ns: int) -> None:
        for cgroup_id in [key for key, cgroup in self._cgroups.items() if cgroup.seen_ns < before_ns]:
            del self._cgroups[cgroup_id]
        for key in [key for key, process in self._processes.items() if process.seen_ns < before_ns]:
            del self._processes[key]
