# SPDX-License-Identifier: Apache-2.0
"""A machine made of files: /proc and a cgroup2 tree that say what a test wants, and a clock that it turns.

Files are rewritten in place, as the kernel's change behind a kept descriptor. What only the kernel does (a
descriptor that dies with its process) the tests on the real /proc are for.
"""

import os
import shutil
from pathlib import Path

from services.probe.procfs.backend import ProcfsBackend
from wattline.wire import codec
from wattline.wire.frames import Activity

S, MS, US = 1_000_000_000, 1_000_000, 1_000
TICK_NS = S // os.sysconf("SC_CLK_TCK")
PF_KTHREAD = 0x0020_0000


def descriptors() -> int:
    """How many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class FakeMachine:
    """Starts with two CPUs, no process, and no cgroup but the root."""

    def __init__(self, directory: Path) -> None:
        self.procfs, self.mount = directory / "proc", directory / "cgroup"
        self.state = directory / "procfs_state"
        self.now_ns = 1000 * S
        self.boot_id = "boot"
        self.idle_ticks = {0: 5000, 1: 7000}
        self.usage_us: dict[str, int] = {}
        self.processes: dict[int, list] = {}  # start, ticks, comm, flags, cgroup path
        self.started: list[ProcfsBackend] = []
        self.procfs.mkdir()
        self.mount.mkdir()
        self.write_stat()
        self._list("")

    def start(self, previous=None, *, mount=True) -> ProcfsBackend:
        """A backend on this machine."""
        backend = ProcfsBackend(
            self.procfs,
            self.mount if mount else None,
            self.state,
            self.boot_id,
            previous,
            monotonic_ns=lambda: self.now_ns,
        )
        self.started.append(backend)
        return backend

    def close(self) -> None:
        """Close what every backend on it has open."""
        for backend in self.started:
            backend.close(keep=True)

    def restart(self, backend, sample) -> ProcfsBackend:
        """Another one after that was killed, with the last frame that it published."""
        backend.close(keep=True)
        return self.start(frame(backend, sample))

    def id(self, path: str) -> int:
        return (self.mount / path.lstrip("/")).stat().st_ino

    def pass_time(self, ns: int, *idle_ns: int, online=None) -> None:
        """Let time pass, of which each CPU was idle for some (all of it, if nothing is said)."""
        self.now_ns += ns
        for cpu, idle in zip(self.idle_ticks, idle_ns or [ns] * len(self.idle_ticks), strict=False):
            self.idle_ticks[cpu] += idle // TICK_NS
        self.write_stat(online)

    def write_stat(self, online=None) -> None:
        lines = ["cpu  1 2 3 4 5 6 7 0 0 0"]
        for cpu, ticks in self.idle_ticks.items():
            if online is None or cpu in online:
                lines.append(f"cpu{cpu} 10 0 10 {ticks - ticks // 3} {ticks // 3} 0 0 0 0 0")
        (self.procfs / "stat").write_text("\n".join([*lines, "intr 12 0 3", "ctxt 99", ""]))

    def make(self, path: str) -> None:
        (self.mount / path.lstrip("/")).mkdir()
        self.usage_us[path] = 0
        self._list(path)
        self._usage(path)

    def remove(self, path: str) -> None:
        shutil.rmtree(self.mount / path.lstrip("/"))
        del self.usage_us[path]

    def use(self, path: str, us: int) -> None:
        """A cgroup's own tasks run; the kernel books that to all its ancestors as well."""
        while path:
            self.usage_us[path] += us
            self._usage(path)
            path = path.rpartition("/")[0]

    def spawn(self, pid: int, cgroup="", *, comm: str | bytes = "fake", start=100, ticks=0, flags=0) -> None:
        """A process, or if there is one with this pid, another that has it now."""
        raw = comm if isinstance(comm, bytes) else comm.encode()
        before = self.processes.get(pid)
        self.processes[pid] = [start, ticks, raw, flags, cgroup]
        if before is None:
            (self.procfs / str(pid)).mkdir()
        self._place(pid, before[4] if before else cgroup)

    def work(self, pid: int, ticks: int) -> None:
        self.processes[pid][1] += ticks
        self._process(pid)

    def move(self, pid: int, cgroup: str) -> None:
        before, self.processes[pid][4] = self.processes[pid][4], cgroup
        self._place(pid, before)

    def kill(self, pid: int) -> None:
        cgroup = self.processes.pop(pid)[4]
        shutil.rmtree(self.procfs / str(pid))
        self._list(cgroup)

    def _place(self, pid: int, before: str) -> None:
        self._process(pid)
        for cgroup in {before, self.processes[pid][4]} & {"", *self.usage_us}:
            self._list(cgroup)

    def _process(self, pid: int) -> None:
        start, ticks, comm, flags, cgroup = self.processes[pid]
        head = b"%d (%s) S 1 1 1 0 -1 %d 0 0 0 0" % (pid, comm, flags)
        tail = b"%d %d 0 0 20 0 1 0 %d 4096 0" % (ticks // 2, ticks - ticks // 2, start)
        (self.procfs / str(pid) / "stat").write_bytes(head + b" " + tail + b" 0" * 28 + b"\n")
        (self.procfs / str(pid) / "cgroup").write_text(f"1:cpu:/\n0::{cgroup or '/'}\n")

    def _list(self, cgroup: str) -> None:
        pids = [f"{pid}\n" for pid, process in self.processes.items() if process[4] == cgroup]
        (self.mount / cgroup.lstrip("/") / "cgroup.procs").write_text("".join(pids))

    def _usage(self, path: str) -> None:
        text = f"usage_usec {self.usage_us[path]}\nuser_usec 0\nsystem_usec 0\n"
        (self.mount / path.lstrip("/") / "cpu.stat").write_text(text)


def frame(backend, sample) -> Activity:
    """The sample as a frame that has been through the wire."""
    fields = {
        name: getattr(sample, name)
        for name in ("mono_ns", "skew_ns", "cpus", "cgroups", "processes", "paths", "losses", "sources")
    }
    header = {"node": "n", "boot_id": "boot", "producer": "probe", "run": 1, "seq": 0, "unix_ns": 0}
    activity = Activity(
        **header,
        **fields,
        epoch=backend.epoch,
        interval_ns=S,
        source=backend.source,
        counters=sample.counters,
    )
    return codec.decode(codec.encode(activity))
