# SPDX-License-Identifier: Apache-2.0
"""The workloads above single processes: containers, what runs outside of any, virtual machines, pods. Pure.

The finest is a (container, pod, virtual machine, unit); containers, pods, machines and units of host
processes are sums of these. One that has ended keeps its account for a time. Then a machine is folded into
its container, a unit into what runs outside of any, a container into `terminated` of its pod, and what is
left of an ended pod into the node's: what a sum is made of may end, the sum never falls.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wattline.wire.frames import UNMATCHED_UNIT

from .accounts import Accounts
from .columns import Ints

SYSTEM, KERNEL, UNKNOWN = "system_processes", "kernel_processes", "unknown_processes"
TERMINATED = "terminated"
_FOR_EVER = (SYSTEM, KERNEL, UNKNOWN, TERMINATED)


class Owner(NamedTuple):
    """Whose something is. Without a container: one of the three that stand for what runs outside of any.

    These alone may have a unit, and a pod without its container being known.
    """

    container_id: str
    runtime: str = ""
    pod_uid: str = ""
    vm_id: str = ""
    unit: str = ""


Identity = tuple[str, str, str, str]  # container id, pod uid, vm id, unit
Name = tuple[str, ...]


@dataclass(eq=False)
class Workload:
    """One workload. Its account has what its departed processes used."""

    container_id: str
    pod_uid: str
    vm_id: str
    unit: str
    runtime: str
    number: int
    account: int
    last_seen_ns: int
    cpu_request_m: int = 0

    @property
    def identity(self) -> Identity:
        """What tells it from others."""
        return (self.container_id, self.pod_uid, self.vm_id, self.unit)

    @property
    def together(self) -> Name:
        """The container that it is a part of; of those outside of any, its machine or unit."""
        return self.identity if self.container_id in _FOR_EVER else (self.container_id,)

    @property
    def idle_share(self) -> Name:
        """What gets one share of idle energy: outside of any container, pods and units get theirs of one."""
        if self.container_id in _FOR_EVER:
            return (self.container_id, self.vm_id)
        return (self.container_id, self.pod_uid, self.vm_id)

    @property
    def stays(self) -> bool:
        """Whether it is never folded into another: what has no parent.

        Time that matched nothing has a counter of its own, which must not fall.
        """
        is_outside = self.container_id in _FOR_EVER and not self.pod_uid and not self.vm_id
        return is_outside and self.unit in ("", UNMATCHED_UNIT)

    @property
    def is_rest(self) -> bool:
        """True for what a pod keeps when its containers have ended, or are not known."""
        return self.container_id in _FOR_EVER and not self.vm_id and not self.unit


class Alive(NamedTuple):
    """The ids that have a row in the books; of each container also its pod, empty without one."""

    pod_of: Mapping[str, str]
    pods: AbstractSet[str]
    machines: AbstractSet[str]


class Workloads:
    """All workloads. Numbers of those that are gone are given again."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.by_identity: dict[Identity, Workload] = {}
        self.by_number: list[Workload | None] = []
        self.pod_of: dict[str, str] = {}  # by container: the pod that it was first seen in; empty: none
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.by_identity)

    def get(self, number: int) -> Workload:
        """The workload with that number."""
        workload = self.by_number[number]
        assert workload is not None
        return workload

    def workload(self, owner: Owner, now_ns: int) -> Workload:
        """The workload of an owner, opened if it is new.

        A container stays in the pod that it was first seen in: in another one its series would be others.
        """
        pod_uid = self.pod_of.get(owner.container_id, owner.pod_uid)
        identity = (owner.container_id, pod_uid, owner.vm_id, owner.unit)
        found = self.by_identity.get(identity)
        if found is None:
            found = self.add(
                Workload(*identity, owner.runtime, self._number(), self._accounts.open(), now_ns)
            )
        return found

    def add(self, workload: Workload) -> Workload:
        """Take one that has its number already."""
        self.by_number.extend([None] * (workload.number + 1 - len(self.by_number)))
        self.by_number[workload.number] = workload
        self.by_identity[workload.identity] = workload
        if workload.container_id not in _FOR_EVER:
            self.pod_of.setdefault(workload.container_id, workload.pod_uid)
        return workload

    def alive(self) -> Alive:
        """The ids of containers, pods and machines that have a row."""
        rows = self.by_identity.values()
        return Alive(self.pod_of, {one.pod_uid for one in rows} - {""}, {one.vm_id for one in rows} - {""})

    def _number(self) -> int:
        return self._free.pop() if self._free else len(self.by_number)

    def accounts(self) -> Ints:
        """By number, the workload's own account; 0 where there is none."""
        return np.array([0 if one is None else one.account for one in self.by_number], np.int64)

    def first_of_idle_share(self) -> Ints:
        """By number, the number of the first workload, in canonical order, that shares its idle energy."""
        firsts: dict[Name, int] = {}
        numbers = np.zeros(len(self.by_number), np.int64)
        for identity in sorted(self.by_identity):
            one = self.by_identity[identity]
            numbers[one.number] = firsts.setdefault(one.idle_share, one.number)
        return numbers

    def order(self, capacity: int) -> Ints:
        """By account, a workload's place in the canonical order: by name, whenever it appeared."""
        places = np.zeros(capacity, np.int64)
        for place, identity in enumerate(sorted(self.by_identity)):
            places[self.by_identity[identity].account] = place
        return places

    def fold_ended(self, now_ns: int, keep_ns: int) -> None:
        """Fold those not seen for longer than `keep_ns` into what they are part of.

        All that make up one container, or one machine, go together: neither may fall while it is shown.
        """
        seen_ns = self._seen_together_ns()

        def has_ended(one: Workload) -> bool:
            return now_ns - seen_ns.get(one.together, one.last_seen_ns) > keep_ns and not one.stays

        # Machines first: their containers then live on with what they were given.
        ended = list(filter(has_ended, self.by_identity.values()))
        # Decided before anything is folded, so that no part of a pod ends without the others.
        living_pods = {
            one.pod_uid for one in self.by_identity.values() if not (one.is_rest and has_ended(one))
        }
        for one in sorted(ended, key=lambda one: (not one.vm_id, one.identity)):
            if (one.vm_id or has_ended(one)) and (parent := self._parent(one, living_pods)) is not None:
                heir = self.workload(parent, now_ns)
                self._fold(one, heir, now_ns)
                seen_ns[heir.together] = now_ns
        if ended:
            living = {one.container_id for one in self.by_identity.values()}
            self.pod_of = {one: pod_uid for one, pod_uid in self.pod_of.items() if one in living}

    def _seen_together_ns(self) -> dict[Name, int]:
        """When any of those was last seen that make up one container; or one machine, wherever it runs."""
        seen_ns: dict[Name, int] = {}
        for one in self.by_identity.values():
            seen_ns[one.together] = max(one.last_seen_ns, seen_ns.get(one.together, 0))
        machines = [(one.together, ("vm", one.vm_id)) for one in self.by_identity.values() if one.vm_id]
        changed = bool(machines)
        while changed:  # once for each container that a machine leads to: hardly ever more than twice
            changed = False
            for container, machine in machines:
                newest_ns = max(seen_ns[container], seen_ns.get(machine, 0))
                changed |= newest_ns > min(seen_ns[container], seen_ns.get(machine, 0))
                seen_ns[container] = seen_ns[machine] = newest_ns
        return seen_ns

    @staticmethod
    def _parent(workload: Workload, living_pods: Collection[str]) -> Owner | None:
        """Where an ended workload goes; None: nowhere yet."""
        if workload.vm_id or workload.unit:
            return Owner(workload.container_id, workload.runtime, workload.pod_uid)
        if workload.container_id not in _FOR_EVER:
            return Owner(TERMINATED, "", workload.pod_uid)
        return None if workload.pod_uid in living_pods else Owner(workload.container_id)

    def _fold(self, workload: Workload, heir: Workload, now_ns: int) -> None:
        heir.last_seen_ns = now_ns
        self._accounts.close_onto(workload.account, heir.account)
        self.by_number[workload.number] = None
        self._free.append(workload.number)
        del self.by_identity[workload.identity]
