# SPDX-License-Identifier: Apache-2.0
"""Ids of virtual machines that no cgroup of their own names. Pure; whether a process lives is asked for.

A machine's id is what its command line says it is, `qemu-UUID` or `firecracker-ID`, else made of its
process's pid and start, `qemu-PID.START`. Anybody may write a command line, so

- the id of a process of another user than root is `ID@UID`;
- an id belongs to the first process that has it, and to those of the same user in the same container that
  come when it has ended (the machine was started again), or are its children (QEMU's -daemonize). Any other
  gets the id of its pid and start;
- one user's machines are limited in each container, for each is a series of its own.

An id of pid and start has a dot, which stands in none of the others: it is unique on a host.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .guest import Guest

ProcessKey = tuple[int, int]  # pid, start in clock ticks

_ROOT_UID = 0
# Of a user at a time, in one container or outside of any; of root's outside of any. As with units' names.
MACHINES_MAX, ROOTS_MACHINES_MAX = 64, 2000


class Scope(NamedTuple):
    """Who runs a process: its user, as the host numbers it, and its container, if it is in one."""

    uid: int
    container_id: str


@dataclass
class _Holder:
    scope: Scope
    processes: set[ProcessKey]


@dataclass
class MachineIds:
    """Gives each process that runs a machine the id of that machine, for as long as it lives.

    `is_alive` tells whether the process with that pid and start still runs.
    """

    is_alive: Callable[[ProcessKey], bool]
    _ids: dict[ProcessKey, str] = field(default_factory=dict)
    _holders: dict[str, _Holder] = field(default_factory=dict)
    _earlier: dict[ProcessKey, str] = field(default_factory=dict)

    def __getitem__(self, process: ProcessKey) -> str:
        return self._ids[process]

    def given(self) -> Mapping[ProcessKey, str]:
        """The id of each process that has one."""
        return self._ids

    def give(self, process: ProcessKey, guest: Guest, scope: Scope, parent_pid: int = 0) -> str:
        """The id of the machine that a process runs; empty beyond the limit. Older ones come first."""
        if process in self._ids:
            return self._ids[process]
        pid, start_ticks = process
        own = _owned(f"{guest.hypervisor}-{pid}.{start_ticks}", scope)
        wanted = _owned(f"{guest.hypervisor}-{guest.key}", scope) if guest.key else own
        if self._may_have(wanted, scope, parent_pid):
            return self._hold(wanted, process, scope)
        return "" if self._is_full(scope) else self._hold(own, process, scope)

    def resume(self, given: Mapping[ProcessKey, str]) -> None:
        """Take the ids that a previous run of metadata has given; each waits for its process."""
        self._earlier = dict(given)

    def waiting(self) -> Collection[ProcessKey]:
        """Processes that have an id of a previous run, and haven't been seen in this one."""
        return self._earlier.keys()

    def take_up(self, process: ProcessKey, scope: Scope) -> str:
        """Give a process the id that it had in a previous run, whatever it says by now."""
        return self._hold(self._earlier.pop(process), process, scope)

    def drop(self, process: ProcessKey) -> None:
        """Forget that it had an id in a previous run."""
        del self._earlier[process]

    def forget(self, remembered: Collection[ProcessKey]) -> None:
        """Drop what isn't remembered any more; its id is free again."""
        for process in [process for process in self._ids if process not in remembered]:
            machine_id = self._ids.pop(process)
            holder = self._holders[machine_id]
            holder.processes.discard(process)
            if not holder.processes:
                del self._holders[machine_id]

    def _may_have(self, machine_id: str, scope: Scope, parent_pid: int) -> bool:
        earlier = {process for process, given in self._earlier.items() if given == machine_id}
        holder = self._holders.get(machine_id)
        if holder is None and not earlier:
            return not self._is_full(scope)
        if holder is not None and holder.scope != scope:
            return False
        holders = earlier | holder.processes if holder is not None else earlier
        alive = [process for process in holders if self.is_alive(process)]
        return not alive or any(pid == parent_pid for pid, _start in alive)

    def _is_full(self, scope: Scope) -> bool:
        most = ROOTS_MACHINES_MAX if scope == (_ROOT_UID, "") else MACHINES_MAX
        return sum(holder.scope == scope for holder in self._holders.values()) >= most

    def _hold(self, machine_id: str, process: ProcessKey, scope: Scope) -> str:
        self._ids[process] = machine_id
        self._holders.setdefault(machine_id, _Holder(scope, set())).processes.add(process)
        return machine_id


def _owned(machine_id: str, scope: Scope) -> str:
    return machine_id if scope.uid == _ROOT_UID else f"{machine_id}@{scope.uid}"
