# SPDX-License-Identifier: Apache-2.0
"""What is known about cgroups and processes, and for how long it is remembered. Pure: no I/O, no clock."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from types import MappingProxyType

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import (
    CGROUP_DEPARTED,
    PROCESS_ENDED,
    PROCESS_KERNEL_THREAD,
    UNMATCHED_UNIT,
    Activity,
    MetadataCgroups,
    MetadataProcesses,
)
from wattline.wire.table import if_any

from .cgroup_path import (
    CgroupIdentity,
    Claim,
    Delegation,
    apart,
    claim,
    identify,
    identify_owned,
    is_unmatched,
    names_pod_in_container,
    pod_apart,
    user_delegation,
)
from .places import BUILT_IN, Places
from .unit_names import UnitNames

# The dead are remembered as long as the slowest meter may still attribute to them.
REMEMBERED_NS = 300 * 1_000_000_000
# A cgroup that wasn't found is looked for again after this time, since its mount may appear.
SEARCH_AGAIN_NS = 10 * 1_000_000_000
# Paths that match nothing are named once each; so many are remembered, and then no more are named.
UNMATCHED_MAX = 1000

ProcessKey = tuple[int, int]  # pid, start in clock ticks
_NOTHING = CgroupIdentity()
_NO_MACHINES: Mapping[ProcessKey, str] = MappingProxyType({})


@dataclass
class _Cgroup:
    path: str
    identity: CgroupIdentity
    seen_ns: int
    searched_ns: int
    is_unmatched: bool = False


@dataclass
class _Process:
    comm: str
    kernel: bool = False
    seen_ns: int = 0
    asked: bool = False  # under its present name
    hidden: bool = False  # it was asked, and /proc did not show it to us
    identity: CgroupIdentity | None = None  # what it said then


@dataclass
class Directory:
    """Every cgroup and process that activity has named.

    `delegation_of` tells, for a path, below which cgroup of it the names are not root's. `places`: the table.
    """

    delegation_of: Callable[[str], Delegation | None] = user_delegation
    places: Places = BUILT_IN
    _cgroups: dict[int, _Cgroup] = field(default_factory=dict)
    _processes: dict[ProcessKey, _Process] = field(default_factory=dict)
    _unmatched: set[str] = field(default_factory=set)
    _unit_names: UnitNames = field(default_factory=UnitNames)
    _process_has_container: bool = False

    def see(self, activity: Activity) -> None:
        """Take the processes of a frame and the cgroups whose paths it has; and keep all that it names."""
        rows = activity.processes
        for pid, start_ticks, flags, comm in zip(
            rows.pid, rows.start_ticks, rows.flags, rows.comm, strict=True
        ):
            process = self._processes.get((pid, start_ticks))
            if process is None:
                process = self._processes[pid, start_ticks] = _Process(comm)
            if comm != process.comm:
                # It runs another program: a runtime moves its child into the container before it does so.
                process.comm, process.asked = comm, False
            process.kernel = bool(flags & PROCESS_KERNEL_THREAD)
            process.seen_ns = activity.mono_ns
        for cgroup_id in activity.cgroups.cgroup_id:
            known = self._cgroups.get(cgroup_id)
            if known is not None:
                known.seen_ns = activity.mono_ns
        paths = dict(zip(activity.paths.cgroup_id, activity.paths.path, strict=True))
        new = {
            cgroup_id: paths[cgroup_id]
            for cgroup_id in activity.cgroups.cgroup_id
            if paths.get(cgroup_id) and not self.path(cgroup_id)
        }
        self.learn(new, new, activity.mono_ns)
        self._forget(activity.mono_ns - REMEMBERED_NS)

    def path(self, cgroup_id: int) -> str:
        """Where a cgroup is; empty if that is not known."""
        known = self._cgroups.get(cgroup_id)
        return known.path if known is not None else ""

    def unknown(self, activity: Activity) -> set[int]:
        """Cgroups of a frame that are worth a search."""
        wanted = set()
        for cgroup_id in activity.cgroups.cgroup_id:
            known = self._cgroups.get(cgroup_id)
            if known is None or (not known.path and activity.mono_ns - known.searched_ns >= SEARCH_AGAIN_NS):
                wanted.add(cgroup_id)
        return wanted

    def learn(self, wanted: Iterable[int], paths: Mapping[int, str], now_ns: int) -> None:
        """Take the result of a search; what it did not find is known to be unknown (an empty path).

        Older cgroups first (ids grow), so that which units have names doesn't depend on the order of a walk.
        """
        claimed, pods = set(), set()
        for cgroup_id in sorted(wanted):
            path = paths.get(cgroup_id, "")
            identity = identify(path, self.places)
            if identity != _NOTHING:
                identity = identify_owned(path, self.delegation_of(path), self.places)
            unmatched = is_unmatched(path, identity)
            self._cgroups[cgroup_id] = _Cgroup(path, self._bounded(identity), now_ns, now_ns, unmatched)
            claimed.add(identity.container_id)
            pods.add(identity.pod_uid)
        self._settle(claimed - {""}, now_ns)
        self._settle_pods(pods - {""}, now_ns)

    def _settle(self, container_ids: set[str], now_ns: int) -> None:
        """Leave each id to one cgroup and those below it; show others that claim it, and exist, apart.

        The one that is not in another container, and then the older one: cgroup ids grow.
        """
        claims: dict[str, dict[Claim, list[int]]] = {}
        for cgroup_id, cgroup in sorted(self._cgroups.items()) if container_ids else ():
            if cgroup.identity.container_id in container_ids and cgroup.seen_ns == now_ns:
                claimed = claim(cgroup.path, self.places)
                assert claimed is not None  # it has a container
                claims.setdefault(cgroup.identity.container_id, {}).setdefault(claimed, []).append(cgroup_id)
        for claimants in claims.values():
            for claimed in sorted(claimants, key=lambda one: (one.is_nested, claimants[one][0]))[1:]:
                for cgroup_id in claimants[claimed]:
                    cgroup = self._cgroups[cgroup_id]
                    cgroup.identity = apart(cgroup.identity)

    def _settle_pods(self, pod_uids: set[str], now_ns: int) -> None:
        """Leave each pod to its cgroups outside of other containers, if there are any; show others apart."""
        inner: dict[str, list[_Cgroup]] = {}
        outside = set()
        for cgroup in self._cgroups.values() if pod_uids else ():
            pod_uid = cgroup.identity.pod_uid
            if pod_uid not in pod_uids or cgroup.seen_ns != now_ns:
                continue
            if names_pod_in_container(cgroup.path, self.places):
                inner.setdefault(pod_uid, []).append(cgroup)
            else:
                outside.add(pod_uid)
        for pod_uid in inner.keys() & outside:
            for cgroup in inner[pod_uid]:
                cgroup.identity = pod_apart(cgroup.identity)

    def containers(self) -> dict[str, CgroupIdentity]:
        """Every container that a cgroup or a process is in, by id."""
        return {one.container_id: one for one in self._identities() if one.container_id}

    def pod_uids(self) -> set[str]:
        """Every pod that a cgroup or a process is in."""
        return {one.pod_uid for one in self._identities() if one.pod_uid}

    def _identities(self) -> Iterator[CgroupIdentity]:
        """Those of cgroups last: where both name a container, the cgroup counts."""
        if self._process_has_container:  # only with cgroup v1; there may be ten thousand processes
            yield from (one.identity for one in self._processes.values() if one.identity is not None)
        yield from (cgroup.identity for cgroup in self._cgroups.values())

    def containers_running(self, comms: Collection[str], activity: Activity) -> set[str]:
        """Containers of a frame in which a process of one of these names is."""
        rows = activity.processes
        found = set()
        keys = zip(rows.cgroup_id, rows.pid, rows.start_ticks, rows.comm, strict=True)
        for cgroup_id, pid, start_ticks, comm in keys:
            if comm in comms:
                cgroup, process = self._cgroups.get(cgroup_id), self._processes.get((pid, start_ticks))
                own = process.identity if process is not None else None
                found.add(cgroup.identity.container_id if cgroup is not None else "")
                found.add(own.container_id if own is not None else "")
        return found - {""}

    def identity(self, cgroup_id: int, key: ProcessKey) -> CgroupIdentity:
        """Container, pod and machine of a process in a cgroup; where that tells none, the process's own."""
        cgroup, process = self._cgroups.get(cgroup_id), self._processes.get(key)
        of_cgroup = cgroup.identity if cgroup is not None else _NOTHING
        own = process.identity if process is not None and process.identity is not None else _NOTHING
        inner = of_cgroup if of_cgroup.container_id else own
        return CgroupIdentity(
            container_id=inner.container_id,
            runtime=inner.runtime,
            pod_uid=of_cgroup.pod_uid or own.pod_uid,
            vm_id=of_cgroup.vm_id or own.vm_id,
        )

    def machines(self) -> dict[str, CgroupIdentity]:
        """Container and pod of each machine that has a cgroup of its own, by the machine's id."""
        identities = (cgroup.identity for cgroup in self._cgroups.values())
        return {identity.vm_id: identity for identity in identities if identity.vm_id}

    def remembered(self, keys: Iterable[ProcessKey]) -> set[ProcessKey]:
        """Those of some processes that are remembered."""
        return {key for key in keys if key in self._processes}

    def newly_unmatched(self, activity: Activity) -> list[str]:
        """Paths that tell nothing, of cgroups with CPU time of their own: each once, UNMATCHED_MAX in all."""
        table = activity.cgroups
        new = []
        for cgroup_id, cpu_ns, flags in zip(
            table.cgroup_id, table.cpu_ns, table.flags or repeat(0), strict=False
        ):
            cgroup = self._cgroups.get(cgroup_id)
            if (
                cgroup is None
                or not cpu_ns
                or flags & CGROUP_DEPARTED
                or len(self._unmatched) >= UNMATCHED_MAX
            ):
                continue
            if cgroup.is_unmatched and cgroup.path not in self._unmatched:
                self._unmatched.add(cgroup.path)
                new.append(cgroup.path)
        return new

    def tells_cgroups_apart(self) -> bool:
        """Whether any cgroup besides the root has a path."""
        return any(len(cgroup.path) > 1 for cgroup in self._cgroups.values())

    def unasked(self, activity: Activity, *, uses_cgroup1: bool) -> list[ProcessKey]:
        """Processes of a frame that may know their container better than their cgroup2 does.

        With cgroup v1 in use, those whose cgroup tells no container; else only those whose cgroup is unknown.
        New ones first: who keeps changing its name must not keep others from being asked.
        """
        rows = activity.processes
        found: dict[ProcessKey, bool] = {}
        for cgroup_id, pid, start_ticks, flags in zip(
            rows.cgroup_id, rows.pid, rows.start_ticks, rows.flags, strict=True
        ):
            process, cgroup = self._processes[pid, start_ticks], self._cgroups.get(cgroup_id)
            if process.asked or process.hidden or flags & (PROCESS_KERNEL_THREAD | PROCESS_ENDED):
                continue
            if not (cgroup and cgroup.path) or (uses_cgroup1 and not cgroup.identity.container_id):
                found[pid, start_ticks] = process.identity is not None
        return sorted(found, key=found.__getitem__)

    def answer(self, key: ProcessKey, identity: CgroupIdentity | None) -> None:
        """What a process said of its container; None: it was gone, and what is known stays."""
        process = self._processes[key]
        process.asked, process.hidden = True, False
        process.identity = self._bounded(identity) if identity else process.identity or _NOTHING
        self._process_has_container |= bool(process.identity.container_id or process.identity.pod_uid)

    def _bounded(self, identity: CgroupIdentity) -> CgroupIdentity:
        unit = self._unit_names.bounded(identity.unit)
        return identity if unit == identity.unit else replace(identity, unit=unit)

    def hide(self, key: ProcessKey) -> None:
        """Note that a process lives and can't be asked; it isn't asked again before `reveal`."""
        self._processes[key].hidden = True

    def hidden(self, activity: Activity) -> list[ProcessKey]:
        """Living processes of a frame that could not be asked, each once."""
        rows = activity.processes
        keys = zip(rows.pid, rows.start_ticks, rows.flags, strict=True)
        living = {(pid, start): None for pid, start, flags in keys if not flags & PROCESS_ENDED}
        return [key for key in living if self._processes[key].hidden]

    def reveal(self) -> None:
        """Have every hidden process asked again."""
        for process in self._processes.values():
            process.hidden = False

    def cgroups(self, cpu_requests_m: Mapping[str, int] | None = None) -> MetadataCgroups:
        """As the metadata frame has them, by id. `cpu_requests_m`: of containers; None: none is known."""
        rows = sorted(self._cgroups.items())
        return MetadataCgroups(
            cgroup_id=U64(cgroup_id for cgroup_id, _cgroup in rows),
            path=[cgroup.path for _id, cgroup in rows],
            container_id=[cgroup.identity.container_id for _id, cgroup in rows],
            runtime=[cgroup.identity.runtime for _id, cgroup in rows],
            pod_uid=[cgroup.identity.pod_uid for _id, cgroup in rows],
            vm_id=if_any([cgroup.identity.vm_id for _id, cgroup in rows]),
            unit=if_any([_unit(cgroup) for _id, cgroup in rows]),
            cpu_request_m=U32()
            if cpu_requests_m is None
            else U32(cpu_requests_m.get(cgroup.identity.container_id, 0) for _id, cgroup in rows),
        )

    def processes(self, machine_ids: Mapping[ProcessKey, str] = _NO_MACHINES) -> MetadataProcesses:
        """As the metadata frame has them, by (pid, start); their own containers if any has one.

        `machine_ids`: machines of processes whose cgroups tell none.
        """
        rows = sorted(self._processes.items(), key=lambda row: row[0])
        own = [process.identity or _NOTHING for _key, process in rows]
        machines = (machine_ids.get(key, "") for key, _process in rows) if machine_ids else repeat("")
        told = own if any(identity.container_id or identity.pod_uid for identity in own) else []
        return MetadataProcesses(
            pid=U32(pid for (pid, _start), _process in rows),
            start_ticks=U64(start for (_pid, start), _process in rows),
            kernel=U8(process.kernel for _key, process in rows),
            comm=[process.comm for _key, process in rows],
            container_id=[identity.container_id for identity in told],
            runtime=[identity.runtime for identity in told],
            pod_uid=[identity.pod_uid for identity in told],
            vm_id=if_any(
                [identity.vm_id or machine for identity, machine in zip(own, machines, strict=False)]
            ),
            unit=if_any([identity.unit for identity in own]),
        )

    def _forget(self, before_ns: int) -> None:
        for cgroup_id in [key for key, cgroup in self._cgroups.items() if cgroup.seen_ns < before_ns]:
            del self._cgroups[cgroup_id]
        for key in [key for key, process in self._processes.items() if process.seen_ns < before_ns]:
            del self._processes[key]


def _unit(cgroup: _Cgroup) -> str:
    return UNMATCHED_UNIT if cgroup.is_unmatched else cgroup.identity.unit
