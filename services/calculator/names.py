# SPDX-License-Identifier: Apache-2.0
"""Who owns each row of use, by what metadata says. Pure."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import repeat

from wattline.wire.frames import (
    UNMATCHED_UNIT,
    Activity,
    Metadata,
    MetadataCgroups,
    MetadataContainers,
    MetadataProcesses,
)
from wattline.wire.identities import Machines, PodLabels, Pods

from .reported_names import NO_NAMES, ReportedNames, reported_names
from .workloads import KERNEL, SYSTEM, UNKNOWN, Owner

_NOBODY = Owner("")


@dataclass
class Names:
    """What metadata says of cgroups and processes. `version` changes whenever it says something else.

    `container_ids` and `pod_uids`: all in the newest frame, with a name or without. `cpu_request_m`: by
    container, only what isn't 0; empty where requests are unknown, None before the first frame.
    """

    version: int = 0
    covers: tuple[int, int] = (0, 0)
    cpu_request_m: dict[str, int] | None = None
    reported: ReportedNames = NO_NAMES
    container_ids: AbstractSet[str] = frozenset()
    pod_uids: AbstractSet[str] = frozenset()
    _cgroups: dict[int, tuple[str, Owner]] = field(default_factory=dict)  # (path, owner)
    _owners: dict[tuple[int, int], Owner] = field(default_factory=dict)  # of single processes
    _kernel: set[tuple[int, int]] = field(default_factory=set)
    _tables: tuple[MetadataCgroups, MetadataProcesses] | None = None
    _name_tables: tuple[MetadataContainers, Pods, PodLabels, Machines] | None = None

    def take_metadata(self, metadata: Metadata) -> None:
        """Replace what is known by a newer frame."""
        self.covers = (metadata.covers_epoch, metadata.covers_mono_ns)
        tables_of_names = (metadata.containers, metadata.pods, metadata.pod_labels, metadata.machines)
        has_new_names = tables_of_names != self._name_tables
        if has_new_names:
            self._name_tables, self.reported = tables_of_names, reported_names(metadata)
        tables = (metadata.cgroups, metadata.processes)
        if tables != self._tables:
            self._tables = tables
            self._take_tables(*tables)
        elif not has_new_names:
            return
        owners = [*self._owners.values(), *(owner for _path, owner in self._cgroups.values())]
        self.container_ids = self.reported.containers.keys() | {owner.container_id for owner in owners}
        self.pod_uids = self.reported.pods.keys() | {owner.pod_uid for owner in owners}

    def _take_tables(self, cgroups: MetadataCgroups, processes: MetadataProcesses) -> None:
        told = (self._cgroups, self._owners, self._kernel, self.cpu_request_m)
        self._cgroups = {
            cgroup_id: (path, Owner(*owner))
            for cgroup_id, path, *owner in zip(
                cgroups.cgroup_id,
                cgroups.path,
                cgroups.container_id,
                cgroups.runtime,
                cgroups.pod_uid,
                cgroups.vm_id or repeat(""),
                cgroups.unit or repeat(""),
                strict=False,
            )
        }
        keys = list(zip(processes.pid, processes.start_ticks, strict=True))
        owners = zip(
            processes.container_id or repeat(""),
            processes.runtime or repeat(""),
            processes.pod_uid or repeat(""),
            processes.vm_id or repeat(""),
            processes.unit or repeat(""),
            strict=False,
        )
        self._owners = {key: Owner(*owner) for key, owner in zip(keys, owners, strict=False) if any(owner)}
        self._kernel = {key for key, kernel in zip(keys, processes.kernel, strict=True) if kernel}
        requests = zip(cgroups.container_id, cgroups.cpu_request_m or repeat(0), strict=False)
        self.cpu_request_m = {container_id: request for container_id, request in requests if request}
        if told != (self._cgroups, self._owners, self._kernel, self.cpu_request_m):
            self.version += 1

    def covers_activity(self, activity: Activity) -> bool:
        """Whether metadata has answered this activity."""
        return self.covers >= (activity.epoch, activity.mono_ns)

    def owner(self, cgroup_id: int, pid: int, start_ticks: int, *, is_kernel: bool) -> Owner:
        """The owner of a cgroup (pid 0), or of a process in it.

        The cgroup's container; where it has none, the process's own (a container of cgroup v1 alone leaves
        its processes in the root). The virtual machine likewise. Without a container, the pod; without any of
        these, the unit. `is_kernel`: activity's own word.
        """
        path, of_cgroup = self._cgroups.get(cgroup_id, ("", _NOBODY))
        own = self._owners.get((pid, start_ticks), _NOBODY)
        vm_id = of_cgroup.vm_id or own.vm_id
        for owner in (of_cgroup, own):
            if owner.container_id:
                return owner._replace(vm_id=vm_id, unit="")
        if is_kernel or (pid, start_ticks) in self._kernel:
            return Owner(KERNEL)
        pod_uid = of_cgroup.pod_uid or own.pod_uid
        if not path:
            return Owner(UNKNOWN, pod_uid=pod_uid, vm_id=vm_id)
        unit = own.unit if own.unit and of_cgroup.unit in ("", UNMATCHED_UNIT) else of_cgroup.unit
        return Owner(SYSTEM, pod_uid=pod_uid, vm_id=vm_id, unit="" if vm_id or pod_uid else unit)
