# SPDX-License-Identifier: Apache-2.0
"""What each process used in each cgroup it was seen in, from /proc/PID/stat. Pure."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from wattline.wire.columns import U8, U32, U64
from wattline.wire.frames import PROCESS_ENDED, PROCESS_KERNEL_THREAD, Activity, ActivityProcesses
from wattline.wire.names import safe_name

from ..processes import RunningProcess, parse_stat
from .reading import Reading

_NS_PER_S = 1_000_000_000
# A process that is moved on and on would gather rows without end; after so many it stays where it was.
_ROWS_MAX = 64


@dataclass(slots=True)
class _Process:
    """`rows`: CPU time by cgroup id; `total_ns` their sum. `base_ns` is what it had used at the epoch."""

    pid: int
    start_ticks: int
    base_ns: int
    cgroup_id: int
    flags: int = 0
    comm: str = ""
    stat: bytes = b""  # the last one read: most processes sleep, and theirs is the same again
    total_ns: int = 0
    rows: dict[int, int] = field(default_factory=dict)
    ended_mono_ns: int = 0  # 0: it lives

    def add(self, cgroup_id: int, ns: int) -> None:
        """Charge it with time used in a cgroup."""
        self.rows[cgroup_id] = self.rows.get(cgroup_id, 0) + ns
        self.total_ns += ns

    def name(self, read: RunningProcess, stat: bytes) -> None:
        """What it is called now: it may have become another program."""
        self.stat, self.comm = stat, safe_name(read.comm)
        self.flags = PROCESS_KERNEL_THREAD if read.kernel else 0


class ProcessBook:
    """CPU time of each process since the epoch, or since its birth.

    A process that moves keeps a row in each cgroup; only the row of the one it is in now grows.
    """

    def __init__(self, root_id: int, ticks_per_s: int, bases_ns: dict[tuple[int, int], int]) -> None:
        """As at the epoch, from CPU time of that moment by (pid, start); who is born later begins at 0."""
        self._root_id = root_id
        self._ticks_per_s = ticks_per_s
        self._bases_ns = bases_ns
        self._alive: dict[int, _Process] = {}
        self._ended: list[_Process] = []
        self.in_root_ns = 0  # what all processes ever listed used in the root cgroup

    def restore(self, previous: Activity, in_root_ns: int) -> None:
        """Go on from a frame. Who has gone meanwhile will be found missing in the next reading."""
        self.in_root_ns = in_root_ns
        table = previous.processes
        found: dict[tuple[int, int], _Process] = {}
        for pid, start_ticks, cgroup_id, flags, comm, cpu_ns in zip(
            table.pid, table.start_ticks, table.cgroup_id, table.flags, table.comm, table.cpu_ns, strict=True
        ):
            process = found.setdefault((pid, start_ticks), self._new(pid, start_ticks))
            process.flags, process.comm, process.cgroup_id = flags, comm, cgroup_id
            process.add(cgroup_id, cpu_ns)
        for process in found.values():
            if process.flags & PROCESS_ENDED:
                process.ended_mono_ns = previous.mono_ns
                self._ended.append(process)
            else:
                self._alive[process.pid] = process

    def knows(self, pid: int) -> bool:
        """Whether it was alive in the last reading."""
        return pid in self._alive

    def advance(self, reading: Reading, members: dict[int, int], gained_ns: Callable[[int], int]) -> None:
        """Take a reading. `members`: cgroup by pid; `gained_ns`: what each cgroup used since the last one.

        A pid that is not in `members` is where it was; if it is new, in the root.
        """
        now_ns = reading.stamp_mono_ns
        for pid in self._alive.keys() - reading.stats.keys():
            self._end(self._alive[pid], now_ns)
        for pid, stat in reading.stats.items():
            process = self._alive.get(pid)
            if (
                process is None
                or process.stat != stat
                or members.get(pid, process.cgroup_id) != process.cgroup_id
            ):
                self._update(pid, stat, members.get(pid), now_ns, gained_ns)

    def retire(self, ended_before_ns: int) -> int:
        """Let go of those who ended before a time; how many that were."""
        ended = self._ended
        self._ended = [process for process in ended if process.ended_mono_ns >= ended_before_ns]
        return len(ended) - len(self._ended)

    def table(self) -> ActivityProcesses:
        """As the frame has it."""
        rows = list(self._rows())
        return ActivityProcesses(
            cgroup_id=U64([cgroup_id for _process, cgroup_id, _ns in rows]),
            pid=U32([process.pid for process, _cgroup_id, _ns in rows]),
            start_ticks=U64([process.start_ticks for process, _cgroup_id, _ns in rows]),
            flags=U8([process.flags for process, _cgroup_id, _ns in rows]),
            cpu_ns=U64([ns for _process, _cgroup_id, ns in rows]),
            comm=[process.comm for process, _cgroup_id, _ns in rows],
        )

    def _rows(self) -> Iterator[tuple[_Process, int, int]]:
        for processes in (self._alive.values(), self._ended):
            for process in processes:
                for cgroup_id, ns in process.rows.items():
                    yield process, cgroup_id, ns

    def _update(
        self, pid: int, stat: bytes, cgroup_id: int | None, now_ns: int, gained_ns: Callable[[int], int]
    ) -> None:
        try:
            read = parse_stat(pid, stat)
        except ValueError:
            return  # it was read while it ended; if not, the next reading will have it
        process = self._alive.get(pid)
        if process is None or process.start_ticks != read.start_ticks:
            if process is not None:
                self._end(process, now_ns)  # another has its pid now
            process = self._alive[pid] = self._new(pid, read.start_ticks)
            process.cgroup_id = self._root_id if cgroup_id is None else cgroup_id
        process.name(read, stat)
        used_ns = read.cpu_ticks * _NS_PER_S // self._ticks_per_s - process.base_ns - process.total_ns
        if cgroup_id is not None and cgroup_id != process.cgroup_id and len(process.rows) < _ROWS_MAX:
            used_ns = self._move(process, cgroup_id, max(0, used_ns), gained_ns(cgroup_id))
        self._charge(process, max(0, used_ns))

    def _new(self, pid: int, start_ticks: int) -> _Process:
        return _Process(pid, start_ticks, self._bases_ns.get((pid, start_ticks), 0), self._root_id)

    def _move(self, process: _Process, cgroup_id: int, used_ns: int, gained_ns: int) -> int:
        """It is in another cgroup now; what of its use since the last reading was there.

        Nobody says when it moved. The new cgroup can't have been used for longer than its own account grew.
        """
        there_ns = min(used_ns, gained_ns)
        self._charge(process, used_ns - there_ns)
        process.cgroup_id = cgroup_id
        process.rows[cgroup_id] = process.rows.pop(cgroup_id, 0)  # last, where `restore` looks for it
        return there_ns

    def _charge(self, process: _Process, ns: int) -> None:
        process.add(process.cgroup_id, ns)
        if process.cgroup_id == self._root_id:
            self.in_root_ns += ns

    def _end(self, process: _Process, now_ns: int) -> None:
        del self._alive[process.pid]
        process.ended_mono_ns = now_ns
        process.flags |= PROCESS_ENDED
        process.stat = b""
        self._ended.append(process)
