# SPDX-License-Identifier: Apache-2.0
"""Whose account each key of use goes to. Pure."""

from dataclasses import dataclass, field

from wattline.wire.frames import PROCESS_KERNEL_THREAD, Activity, Metadata

from .books import KERNEL, NOBODY, SYSTEM, UNKNOWN, Books, Container, Target
from .timeline import Window
from .usage import LOST, Key, Use


@dataclass(frozen=True)
class _Owner:
    path: str
    container_id: str
    runtime: str
    pod_uid: str


@dataclass
class Names:
    """What metadata says of cgroups and processes, with activity's own word where it says nothing."""

    covers: tuple[int, int] = (0, 0)
    comm: dict[tuple[int, int], str] = field(default_factory=dict)
    _owners: dict[int, _Owner] = field(default_factory=dict)
    _kernel: set[tuple[int, int]] = field(default_factory=set)

    def take_metadata(self, metadata: Metadata) -> None:
        """Replace what is known by a newer frame."""
        cgroups, processes = metadata.cgroups, metadata.processes
        self.covers = (metadata.covers_epoch, metadata.covers_mono_ns)
        self._owners = {
            cgroup_id: _Owner(*rest)
            for cgroup_id, *rest in zip(
                cgroups.cgroup_id,
                cgroups.path,
                cgroups.container_id,
                cgroups.runtime,
                cgroups.pod_uid,
                strict=True,
            )
        }
        keys = list(zip(processes.pid, processes.start_ticks, strict=True))
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
        """The account that a cgroup, or a process in it, belongs to."""
        cgroup_id, pid, start_ticks = key
        owner = self._owners.get(cgroup_id)
        if owner is not None and owner.container_id:
            return books.container(owner.container_id, owner.runtime, owner.pod_uid)
        if (pid, start_ticks) in self._kernel:
            return books.container(KERNEL)
        return books.container(SYSTEM if owner is not None and owner.path else UNKNOWN)


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
