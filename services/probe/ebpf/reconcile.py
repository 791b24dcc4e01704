# SPDX-License-Identifier: Apache-2.0
"""Makes good what the kernel's hooks have missed: ends and births of processes, births and ends of cgroups.

The kernel skips a hook that comes while its CPU is in the middle of an operation on a map, so now and then an
event is missed. What it told is state, so it can be compared with what is: who is likely to have ended in
each step, everybody else a little in each, so that a round takes a minute.
"""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from wattline import cgroup2
from wattline.wire.frames import SourceState

from ..processes import running_process
from . import layout
from .cgroup_names import CgroupNames
from .identities import Identities, Rounds
from .pinned import PinnedProgram

_STEPS_A_ROUND = 60
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_WALK_AGAIN_NS = 60 * 1_000_000_000
_NS_PER_S = 1_000_000_000


class Reconciler:
    """Compares a little in each step. Without a view of the host's pids or cgroups it leaves these alone."""

    def __init__(
        self, program: PinnedProgram, identities: Identities, names: CgroupNames, procfs: Path
    ) -> None:
        self._program = program
        self._identities = identities
        self._names = names
        self._procfs = procfs
        self._sees_pids = _pid_namespace(procfs) == _INITIAL_PID_NAMESPACE
        self._mount = cgroup2.WatchedMount(procfs)
        self._mount.update(time.monotonic_ns())
        self._processes = Rounds(_STEPS_A_ROUND)
        self._cgroups = Rounds(_STEPS_A_ROUND)
        self._gone: set[int] = set()  # generations that a step found gone: the next one decides
        self._walked_ns = 0

    def blind_spots(self) -> list[SourceState]:
        """What we can't compare with, as sources that are down, with the cure."""
        spots = []
        if not self._sees_pids:
            spots.append(("host_pids", "a private pid namespace: missed ends of processes are not found"))
        if self._mount.whole is None:
            spots.append(
                ("host_cgroups", "the mount shows only a part of cgroup2: older cgroups have no path")
            )
        return [
            SourceState(name=name, up=False, reason=f"{reason}; share the host's") for name, reason in spots
        ]

    def step(self, cgroup_keys: Iterable[bytes], now_ns: int) -> None:
        """A step; `cgroup_keys` are those of the rows that were just read."""
        if self._sees_pids:
            self._end_the_gone()
            self._date_births()
        self._mount.update(now_ns)
        if (mount := self._mount.whole) is not None:
            self._remove_the_gone(mount)
            self._name_the_nameless(mount, cgroup_keys, now_ns)

    def close(self) -> None:
        """Stop watching the mounts."""
        self._mount.close()

    def _end_the_gone(self) -> None:
        """Mark processes that are not there any more, and were not a step ago either.

        Not at first sight: the kernel's own word comes up to some 35 ms after the end, and is better.
        """
        identities = self._identities
        for generation in self._gone:
            record = self._program.identity(generation)  # anew: it may have been told meanwhile
            if record is not None and not record[1] and not _exists(record[2]):
                start_boot_ns, _ended_ns, tgid, flags, comm = record
                ended = (start_boot_ns, time.monotonic_ns(), tgid, flags, comm)
                self._program.put_identity(generation, ended)
        leaving = identities.living_flagged(layout.FLAG_LEADER_EXITED)
        suspects = {*leaving, *self._processes.next(identities.living)}
        self._gone = {
            generation
            for generation in filter(identities.__contains__, suspects)
            if not _exists(identities.record(generation)[2])
        }

    def _date_births(self) -> None:
        """Give processes whose birth was missed the start that /proc has."""
        ticks_per_s = self._identities.ticks_per_s
        for generation in self._identities.living_flagged(layout.FLAG_UNSEEN_BIRTH):
            tgid = self._identities.record(generation)[2]
            process, record = running_process(self._procfs, tgid), self._program.identity(generation)
            if process is None or record is None or record[1]:
                continue
            kernel = layout.FLAG_KERNEL_THREAD if process.kernel else 0
            flags = record[3] & ~layout.FLAG_UNSEEN_BIRTH | kernel
            start_boot_ns = process.start_ticks * _NS_PER_S // ticks_per_s
            self._program.put_identity(generation, (start_boot_ns, 0, tgid, flags, process.comm))

    def _remove_the_gone(self, mount: Path) -> None:
        for cgroup_id in self._cgroups.next(self._names.alive):
            path = self._names.raw_path(cgroup_id)
            if not path or self._names.is_removed(cgroup_id) or not _is_gone(mount, path, cgroup_id):
                continue
            if self._names.is_presumed(cgroup_id):
                self._names.presume(cgroup_id, path, time.monotonic_ns())
            else:
                self._program.mark_removed(cgroup_id, time.monotonic_ns())

    def _name_the_nameless(self, mount: Path, cgroup_keys: Iterable[bytes], now_ns: int) -> None:
        """Look for cgroups that have rows and no path; those not found are as good as removed."""
        ids = {layout.CGROUP_KEY.unpack(key)[0] for key in cgroup_keys}
        nameless = self._names.without_path(ids)
        if not nameless or now_ns - self._walked_ns < _WALK_AGAIN_NS:
            return
        self._walked_ns = now_ns
        found = dict(cgroup2.walk(mount))
        for cgroup_id in nameless:
            path = found.get(cgroup_id)
            self._names.presume(cgroup_id, os.fsencode(path or ""), 0 if path else now_ns)


def _pid_namespace(procfs: Path) -> int | None:
    try:
        return (procfs / "self/ns/pid").stat().st_ino
    except OSError:
        return None


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_gone(mount: Path, path: bytes, cgroup_id: int) -> bool:
    """Whether a cgroup's directory is not there any more; one that we may not look at is."""
    try:
        return os.stat(os.fsencode(mount) + path).st_ino != cgroup_id  # noqa: PTH116 bytes, which Path does not take
    except FileNotFoundError:
        return True
    except OSError:
        return False
