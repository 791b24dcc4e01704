# SPDX-License-Identifier: Apache-2.0
"""Virtual machines on this host: asks the processes that may run one, and says which machine each runs."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from wattline.log import Log
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD, Activity, Metadata
from wattline.wire.identities import Machines as MachinesTable

from .. import procfs
from ..cgroup_path import CgroupIdentity
from ..cluster.pod import Pod
from ..directory import Directory, ProcessKey
from .guest import Guest
from .hypervisors import candidates, recognised
from .ids import MACHINES_MAX, ROOTS_MACHINES_MAX, MachineIds, Scope
from .names import SETTLE_NS, MachineNames
from .question import Answer, ask, is_alive

_ASKED_MAX = 100  # processes per frame; the others wait for the next. One takes some 140 µs.
# A process that runs no machine, can't be read or is beyond the limit is asked again: a wrapper of the same
# name may start the hypervisor in its place. After 1 s, then after twice the time.
_PAUSE_MIN_NS, _PAUSE_MAX_NS = 10**9, 64 * 10**9
_UNKNOWN_UID = -1  # of a process that has ended: no other one shares its id
_NOWHERE = CgroupIdentity()


def _no_pod(_uid: str) -> Pod | None:
    return None


@dataclass
class _Asked:
    """A process that is called like a hypervisor's, and the machine that it runs, once it has told."""

    comm: str
    again_ns: int = 0
    pause_ns: int = _PAUSE_MIN_NS
    guest: Guest | None = None
    machine_id: str = ""
    place: CgroupIdentity = _NOWHERE


class Machines:
    """Each process is asked once, and again when it has another name: it may run another program."""

    def __init__(self, directory: Directory, path: Path, log: Log) -> None:
        """`path`: where the host's proc file system is mounted."""
        self._directory = directory
        self._path = path
        self._log = log
        self._asked: dict[ProcessKey, _Asked] = {}
        self._ids = MachineIds(lambda process: is_alive(path, process))
        self._names = MachineNames()
        self._first_ns: int | None = None  # of the first frame

    def resume(self, previous: Metadata) -> None:
        """Go on with the ids and names of a previous run's last frame."""
        rows = previous.processes
        keys = zip(rows.pid, rows.start_ticks, strict=True)
        # Where a cgroup or cgroup v1 tells the machine, it will do so again.
        self._ids.resume({key: vm_id for key, vm_id in zip(keys, rows.vm_id, strict=False) if vm_id})
        self._names.resume(previous.machines)

    def ask(self, activity: Activity) -> None:
        """Ask the processes of a frame that may run a machine and haven't been asked."""
        if self._first_ns is None:
            self._first_ns = activity.mono_ns
        if activity.mono_ns - self._first_ns >= SETTLE_NS:
            self._names.end_resuming()
        self._take_up(activity)
        comms = activity.processes.comm
        names = candidates(comms)
        named = [place for place, comm in enumerate(comms) if comm in names] if names else []
        found = _rows(activity, named, PROCESS_ENDED | PROCESS_KERNEL_THREAD)
        self._forget()
        waiting = [
            (asked.pause_ns, start_ticks, pid)
            for (pid, start_ticks), (comm, _cgroup_ids) in found.items()
            if (asked := self._seen((pid, start_ticks), comm)).guest is None
            and asked.again_ns <= activity.mono_ns
        ]
        # New ones first, and of those the oldest: who comes first has the id.
        for _pause_ns, start_ticks, pid in sorted(waiting)[:_ASKED_MAX]:
            _comm, cgroup_ids = found[pid, start_ticks]
            self._ask((pid, start_ticks), self._place((pid, start_ticks), cgroup_ids), activity.mono_ns)
        for key, (_comm, cgroup_ids) in found.items():
            self._tell(key, self._place(key, cgroup_ids))

    def _take_up(self, activity: Activity) -> None:
        """Go on with ids of a previous run, of processes with any name: one may have another by now."""
        waiting = {*self._ids.waiting()}
        if not waiting:
            return
        keys = zip(activity.processes.pid, activity.processes.start_ticks, strict=True)
        found = _rows(activity, [place for place, key in enumerate(keys) if key in waiting])
        for key, (comm, cgroup_ids) in found.items():
            place = self._place(key, cgroup_ids)
            if place.vm_id:
                self._ids.drop(key)  # cgroup v1 had told it
                continue
            answer = ask(self._path, *key)
            uid = answer.uid if isinstance(answer, Answer) else _UNKNOWN_UID
            asked = self._seen(key, comm)
            asked.machine_id = self._ids.take_up(key, Scope(uid, place.container_id))
            asked.place = place
        for key in waiting - found.keys():
            if not is_alive(self._path, key):
                self._ids.drop(key)

    def ids(self) -> Mapping[ProcessKey, str]:
        """The machine of each process that runs one, where its cgroup doesn't tell."""
        return self._ids.given()

    def table(
        self, now_ns: int, pod_of: Callable[[str], Pod | None] = _no_pod, awaited: Collection[str] = ()
    ) -> MachinesTable:
        """What machines are called. `pod_of`, `awaited`: as in MachineNames.look."""
        by_process = {asked.machine_id: asked.place for asked in self._asked.values() if asked.machine_id}
        self._names.look(by_process | self._directory.machines(), now_ns, pod_of, awaited)
        return self._names.table()

    def _seen(self, key: ProcessKey, comm: str) -> _Asked:
        asked = self._asked.get(key)
        if asked is None:
            asked = self._asked[key] = _Asked(comm)
        elif asked.comm != comm:
            # Asked again at once, but behind new ones: it may have another name in each frame.
            pause_ns = min(2 * asked.pause_ns, _PAUSE_MAX_NS)
            asked = _Asked(comm, pause_ns=pause_ns, machine_id=asked.machine_id, place=asked.place)
            self._asked[key] = asked
        return asked

    def _ask(self, key: ProcessKey, place: CgroupIdentity, now_ns: int) -> None:
        asked = self._asked[key]
        answer = ask(self._path, *key)
        guest = None
        if not isinstance(answer, procfs.Unread):
            guest = recognised(asked.comm, answer.arguments)
            if guest is not None and not place.vm_id and not self._has_id(key, guest, answer, place):
                guest = None
        asked.guest = guest
        if guest is None:
            asked.again_ns, asked.pause_ns = now_ns + asked.pause_ns, min(2 * asked.pause_ns, _PAUSE_MAX_NS)

    def _has_id(self, key: ProcessKey, guest: Guest, answer: Answer, place: CgroupIdentity) -> bool:
        """Give a machine its id; False beyond the limit."""
        scope = Scope(answer.uid, place.container_id)
        if self._ids.give(key, guest, scope, answer.parent_pid):
            return True
        self._log.warning(
            "machines_limit",
            cause=f"user {scope.uid} runs more than {MACHINES_MAX} virtual machines in one container, or "
            f"outside of any (root: {ROOTS_MACHINES_MAX}); further ones have no series of their own",
        )
        return False

    def _tell(self, key: ProcessKey, place: CgroupIdentity) -> None:
        """Note where a machine's process is: it may have moved into the machine's cgroup meanwhile."""
        asked = self._asked[key]
        machine_id = place.vm_id or self._ids.given().get(key, "")
        if asked.guest is not None and machine_id:
            asked.machine_id, asked.place = machine_id, place
            self._names.tell(machine_id, asked.guest)

    def _place(self, key: ProcessKey, cgroup_ids: list[int]) -> CgroupIdentity:
        """Where a process is: in the machine's own cgroup, if it has been in several."""
        places = [self._directory.identity(cgroup_id, key) for cgroup_id in cgroup_ids]
        return max(places, key=lambda place: (bool(place.vm_id), bool(place.container_id)))

    def _forget(self) -> None:
        if self._asked:
            remembered = self._directory.remembered(self._asked)
            self._asked = {key: self._asked[key] for key in remembered}
            self._ids.forget(remembered)


def _rows(
    activity: Activity, places: Iterable[int], unwanted: int = PROCESS_KERNEL_THREAD
) -> dict[ProcessKey, tuple[str, list[int]]]:
    """(name, cgroups) of the processes in some rows of a frame; `unwanted`: flags of those left out."""
    found: dict[ProcessKey, tuple[str, list[int]]] = {}
    rows = activity.processes
    for place in places:
        if not rows.flags[place] & unwanted:
            key = (rows.pid[place], rows.start_ticks[place])
            found.setdefault(key, (rows.comm[place], []))[1].append(rows.cgroup_id[place])
    return found
