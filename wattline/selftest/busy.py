# SPDX-License-Identifier: Apache-2.0
"""How long each CPU has been busy, as the kernel says.

By its account of tasks, the finest that there is (`TaskAccount`):

1. cgroup v1's cpuacct.usage_percpu of the root: ns, of all tasks. A task that runs on another CPU is
   accounted at that CPU's next tick or switch.
2. /proc/stat: ticks of 10 ms, sampled: whoever sleeps at every tick is never seen.

Or by its account of idling (`AwakeAccount`), which is wall time. The two differ where CPUs wake often: the
kernel charges part of a wake-up to the task that wakes although the CPU idles then, and leaves out what was
stolen.

Not /proc/schedstat: it adds a task's time when the task leaves its CPU (sched_info_depart in
kernel/sched/stats.h, Linux 6.1), so whoever is alone on one is not seen for seconds, then all at once.
"""

import os
import time
from pathlib import Path
from typing import Protocol

from wattline.decimal import decimal
from wattline.mounts import mount_details

from .awake import Awake

_NS_PER_S = 1_000_000_000


class Account(Protocol):
    """Busy ns by CPU since it was made; never falls. `source` says from where."""

    source: str

    def busy_ns(self) -> dict[int, int]:
        """By CPU; one that is off keeps its time."""


class AwakeAccount:
    """Time in which the CPU did not idle, by /proc/stat."""

    def __init__(self, procfs: Path = Path("/proc")) -> None:
        self._path = procfs / "stat"
        self.source = f"{self._path}, idle"
        self._awake = Awake()
        self.busy_ns()

    def busy_ns(self) -> dict[int, int]:
        """By CPU."""
        before_ns = time.monotonic_ns()
        text = self._path.read_text(encoding="ascii")
        return self._awake.observe((before_ns + time.monotonic_ns()) // 2, parse_idle(text))


class TaskAccount:
    """What tasks were charged, from the finest source."""

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
    for mount in mount_details(procfs):
        if mount.kind == "cgroup" and "cpuacct" in mount.options and mount.root == "/":
            usage = mount.place / "cpuacct.usage_percpu"
            if usage.exists():
                return usage
    return None


def parse_usage_percpu(text: str) -> dict[int, int]:
    """Ns by CPU: one number for each possible CPU, in order."""
    return {cpu: decimal(ns) for cpu, ns in enumerate(text.split())}


def parse_stat(text: str) -> dict[int, int]:
    """Busy ns by CPU from /proc/stat; guests are in user (proc(5))."""
    return {cpu: ns[0] for cpu, ns in _busy_and_idle(text).items()}


def parse_idle(text: str) -> dict[int, int]:
    """Idle ns by CPU from /proc/stat; waiting for a disk is idling."""
    return {cpu: ns[1] for cpu, ns in _busy_and_idle(text).items()}


def _busy_and_idle(text: str) -> dict[int, tuple[int, int]]:
    found = {}
    ticks_per_s = os.sysconf("SC_CLK_TCK")
    for line in text.splitlines():
        name, *words = line.split()
        if name.startswith("cpu") and name != "cpu":
            user, nice, system, idle, iowait, irq, softirq, steal = map(decimal, words[:8])
            busy = user + nice + system + irq + softirq + steal
            found[decimal(name.removeprefix("cpu"))] = (
                busy * _NS_PER_S // ticks_per_s,
                (idle + iowait) * _NS_PER_S // ticks_per_s,
            )
    return found
