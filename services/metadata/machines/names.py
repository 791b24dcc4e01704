# SPDX-License-Identifier: Apache-2.0
"""What virtual machines are called, said once for each and then never changed. Pure: no I/O, no clock."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.wire.identities import Machines
from wattline.wire.table import if_any

from ..cgroup_path import CgroupIdentity
from ..cluster.pod import Pod
from . import firecracker, qemu
from .guest import Guest

# A machine's cgroup may be there before its process runs the hypervisor. After this time its path has to do.
SETTLE_NS = 10 * 1_000_000_000
# Ids that cgroups name (places.py), and what in them is the machine's name. The number is libvirt's or
# Proxmox' own, and no name.
_OF_PATHS = (
    (re.compile(r"machine-qemu-(?:[0-9]+-)?(?P<name>.+)", re.DOTALL), qemu.HYPERVISOR),
    (re.compile(r"qemu-[0-9]+(?P<name>)"), qemu.HYPERVISOR),
    (re.compile(r"jailer-(?P<name>.+)", re.DOTALL), firecracker.HYPERVISOR),
)


class _Name(NamedTuple):
    vm_name: str
    namespace: str
    uuid: str
    hypervisor: str


@dataclass
class MachineNames:
    """A row is published when all that can be known of its machine is known, and stays as it is.

    So a reader that keeps the first row it sees of a machine keeps the right one.
    """

    _told: dict[str, Guest] = field(default_factory=dict)
    _since_ns: dict[str, int] = field(default_factory=dict)
    _names: dict[str, _Name] = field(default_factory=dict)
    _earlier: dict[str, _Name] = field(default_factory=dict)

    def resume(self, table: Machines) -> None:
        """Keep what a previous run of metadata has said."""
        empty = [""] * len(table)
        columns = (table.vm_name, table.namespace or empty, table.uuid or empty, table.hypervisor or empty)
        self._earlier = dict(zip(table.vm_id, map(_Name, *columns), strict=True))

    def end_resuming(self) -> None:
        """Drop what a previous run has said of machines that haven't come: their ids may be others' later."""
        self._earlier.clear()

    def tell(self, machine_id: str, guest: Guest) -> None:
        """Take what a process of a machine says. The first one counts: a machine has one such process."""
        self._told.setdefault(machine_id, guest)

    def look(
        self,
        machines: Mapping[str, CgroupIdentity],
        now_ns: int,
        pod_of: Callable[[str], Pod | None],
        awaited: Collection[str] = (),
    ) -> None:
        """Settle what can be settled of the machines that there are; the others are forgotten.

        `machines`: container and pod of each by id. `pod_of`: a pod by its uid, if it is known; `awaited`:
        uids of pods that may be known in a moment.
        """
        for known in (self._told, self._since_ns, self._names):
            for gone in [machine_id for machine_id in known if machine_id not in machines]:
                del known[gone]
        for machine_id, identity in machines.items():
            since_ns = self._since_ns.setdefault(machine_id, now_ns)
            if machine_id in self._names:
                continue
            if machine_id in self._earlier:
                self._names[machine_id] = self._earlier.pop(machine_id)
            elif machine_id not in self._told and now_ns - since_ns < SETTLE_NS:
                continue
            elif identity.pod_uid not in awaited:
                guest = self._told.get(machine_id) or _of_path(machine_id)
                self._names[machine_id] = _named(guest, _pod(identity, pod_of))

    def table(self) -> Machines:
        """As the metadata frame has it, by id."""
        rows = sorted(self._names.items())
        return Machines(
            vm_id=[machine_id for machine_id, _name in rows],
            vm_name=[name.vm_name for _id, name in rows],
            namespace=if_any(name.namespace for _id, name in rows),
            uuid=if_any(name.uuid for _id, name in rows),
            hypervisor=if_any(name.hypervisor for _id, name in rows),
        )


def _of_path(machine_id: str) -> Guest:
    for pattern, hypervisor in _OF_PATHS:
        if found := pattern.fullmatch(machine_id):
            # A user's cgroup: where the name ends and the user's number begins can't be known.
            return Guest(hypervisor, "" if "@" in machine_id else found["name"])
    return Guest("")


def _pod(identity: CgroupIdentity, pod_of: Callable[[str], Pod | None]) -> Pod | None:
    """The pod of a machine in a container of the cluster's; ids with an owner are not the cluster's."""
    is_clusters = identity.container_id and "@" not in identity.container_id + identity.pod_uid
    return pod_of(identity.pod_uid) if is_clusters else None


def _named(guest: Guest, pod: Pod | None) -> _Name:
    """KubeVirt's name for a machine comes before its hypervisor's, which holds the namespace too."""
    of_kubevirt = pod.kubevirt_vm if pod is not None else ""
    namespace = pod.namespace if pod is not None and of_kubevirt else ""
    return _Name(of_kubevirt or guest.name, namespace, guest.uuid, guest.hypervisor)
