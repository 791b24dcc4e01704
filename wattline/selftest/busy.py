# SPDX-License-Identifier: Apache-2.0
"""How long each CPU has been busy, from the finest account that the kernel keeps.

1. cgroup v1's cpuacct.usage_percpu of the root: ns, of all tasks. A task that runs on another CPU is
   accounted at that CPU's next tick or switch.
2. /proc/stat: ticks of 10 ms, sampled: whoever sleeps at every tick is never seen.

Not /proc/schedstat: it adds a task's time when the task leaves its CPU (sched_info_depart in
kernel/sched/stats.h, Linux 6.1), so whoever is alone on one is not seen for seconds, then all at once.
"""

import os
from pathlib import Path

_NS_PER_S = 1_000_000_000


class BusyAccount:
    """Busy ns by CPU since it was made; never falls. `source` says from where."""

    def __init__(self, procfs: Path = Path("/proc")) -> None:
        usage = cpuacct_usage(procfs)
        self._path = usage or procfs / "stat"
        self._parse = parse_usage_percpu if usage else parse_stat
        self.source = str(self._path)
        self._start_ns = self._read()
        self._last_ns = dict.fromkeys(self._start_ns, 0)

    def busy_ns(self) -> dict[int, int]:
        """By CPU; one that is off keeps its time."""
        for cpu, raw_ns in self._read().items():
            since_ns = raw_ns - self._start_ns.setdefault(cpu, raw_ns)
            self._last_ns[cpu] = max(since_ns, self._last_ns.get(cpu, 0))
        return dict(self._last_ns)

    def _read(self) -> dict[int, int]:
        return self._parse(self._path.read_text(encoding="ascii"))


def cpuacct_usage(procfs: Path) -> Path | None:
    """The file of the whole machine, if cgroup v1's cpuacct hierarchy is mounted from its root."""
    for line in (procfs / "self" / "mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        mount, _, kind = line.partition(" - ")
        root, where = mount.split()[3:5]
        file_system, *_source, options = kind.split()
        if file_system == "cgroup" and "cpuacct" in options.split(",") and root == "/":
            usage = Path(where) / "cpuacct.usage_percpu"
            if usage.exists():
                return usage
    return None


def parse_usage_percpu(text: str) -> dict[int, int]:
    """Ns by CPU: one number for each possible CPU, in order."""
    return {cpu: int(ns) for cpu, ns in enumerate(text.split())}


def parse_stat(text: str) -> dict[int, int]:
    """Ns by CPU from /proc/stat; guests are in user (proc(5))."""
    found = {}
    for line in text.splitlines():
        name, *words = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[:8])
            ticks = user + nice + system + irq + softirq + steal
            found[int(name.removeprefix("cpu"))] = ticks * _NS_PER_S // os.sysconf("SC_CLK_TCK")
    return found
