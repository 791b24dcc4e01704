# SPDX-License-Identifier: Apache-2.0
"""Whose account each key of use goes to. Pure."""

from dataclasses import dataclass, field

from wattline.wire.frames import PROCESS_KERNEL_THREAD, Activity, Metadata

from .books import KERNEL, NOBODY, SYSTEM, UNKNOWN, Books, Container, Target
from .timeline import Window
from .usage import LOST, Key, Use


@dataclass(frozen=True)
class _Cgroup:
    path: str
    owner: tuple[str, str, str]  # container id, runtime, pod uid


@dataclass
class Names:
    """What metadata says of cgroups and processes, with activity's own word where it says nothing."""

    covers: tuple[int, int] = (0, 0)
    comm: dict[tuple[int, int], str] = field(default_factory=dict)
    _cgroups: dict[int, _Cgroup] = field(default_factory=dict)
    _owners: dict[tuple[int, int], tuple[str, str, str]] = field(default_factory=dict)  # of single processes
    _kernel: set[tuple[int, int]] = field(default_factory=set)

    def take_metadata(self, metadata: Metadata) -> None:
        """Replace what is known by a newer frame."""
        cgroups, processes = metadata.cgroups, metadata.processes
        self.covers = (metadata.covers_epoch, metadata.covers_mono_ns)
        owners = zip(cgroups.container_id, cgroups.runtime, cgroups.pod_uid, strict=True)
        self._cgroups = {
            cgroup_id: _Cgroup(path, owner)
            for cgroup_id, path, owner in zip(cgroups.cgroup_id, cgroups.path, owners, strict=True)
        }
        keys = list(zip(processes.pid, processes.start_ticks, strict=True))
        none = [""] * len(keys)  # where the columns are absent
        owners = zip(
            processes.container_id or none,
            processes.runtime or none,
            processes.pod_uid or none,
            strict=True,
        )
        self._owners = {key: owner for key, owner in zip(keys, owners, strict=True) if owner[0]}
        self._kernel = {key for key, kernel in zip(keys, processes.kernel, strict=True) if kernel}

    def take_activity(self, activity: Activity) -> None:
        """Process names, and who is a kernel thread where metadata has not told."""
        rows = activity.processes
        keys = list(zip(rows.pid, rows.start_ticks, strict=True))
        self.comm = dict(zip(keys, rows.comm, strict=True))
        self._kernel |= {
            key for key, flags in zip(keys, rows.flags, strict=True) if flags & PROCESS_KERNEL_THREAD
        }

    def covers_activity(self, activity: Activity) -> bool:
        """Whether metadata has answered this activity."""
        return self.covers >= (activity.epoch, activity.mono_ns)

    def container_of(self, key: Key, books: Books) -> Container:
        """The account that a cgroup, or a process in it, belongs to.

        The cgroup's container; where it has none, the process's own (a container of cgroup v1 alone leaves
        its processes in the root).
        """
        cgroup_id, pid, start_ticks = key
        cgroup = self._cgroups.get(cgroup_id)
        if cgroup is not None and cgroup.owner[0]:
            return books.container(*cgroup.owner)
        owner = self._owners.get((pid, start_ticks))
        if owner is not None:
            return books.container(*owner)
        if (pid, start_ticks) in self._kernel:
            return books.container(KERNEL)
        return books.container(SYSTEM if cgroup is not None and cgroup.path else UNKNOWN)


def charge_use(use: Use, names: Names, books: Books) -> Window:
    """Book the CPU time of some use, and say to whose accounts its energy will go."""
    used_ns: dict[Target, int] = {}
    for key, ns in use.used_ns.items():
        target = _target(key, names, books)
        target.charge_cpu(ns)
        used_ns[target] = used_ns.get(target, 0) + ns
    capacity_ns = use.cpu_count * (use.end_ns - use.start_ns)
    return Window(use.start_ns, use.end_ns, use.gap, capacity_ns, used_ns)


def _target(key: Key, names: Names, books: Books) -> Target:
    if key == LOST:
        return NOBODY
    container = names.container_of(key, books)
    return books.row(key, container) if key[1] else container
