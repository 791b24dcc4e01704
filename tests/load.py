# SPDX-License-Identifier: Apache-2.0
"""Known work for tests: processes that spin, fork and end, in a cgroup of choice."""

import contextlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

# Spins until it has used some CPU seconds by the kernel's own account, then says so and waits.
SPIN = """
import sys, time
while time.process_time() < float(sys.argv[1]):
    pass
print("done", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def in_cgroup(cgroup: Path, command: Sequence[str], **options):
    """A process that runs in a cgroup from its very first instruction; killed at the end."""

    def enter():
        (cgroup / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")

    process = subprocess.Popen(command, preexec_fn=enter, **options)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def never_idle(cpu: int):
    """Keeps a CPU from idling without taking anything from others.

    The kernel's account charges part of a wake-up to the task that wakes: from idle, and where it preempts
    another that is in the kernel just then. For a tenth of a percent it is an instrument only on a CPU that
    is never idle and that nobody else wakes on.
    """
    command = ["chrt", "-i", "0", "taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def kernel_cpu_us(cgroup: Path) -> int:
    """The kernel's own account of a cgroup's CPU time, in µs."""
    return int((cgroup / "cpu.stat").read_text(encoding="ascii").split()[1])


def steal_ns() -> int:
    """Time the hypervisor gave to others while we wanted to run, all CPUs, in steps of a tick (10 ms)."""
    total = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()
    return int(total[8]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


# What the kernel's account of a task may miss each time that another preempts it: 5 to 35 µs were measured.
_PER_PREEMPTION_NS = 40_000


def _preemptions(cgroup: Path) -> int:
    """How often the processes that are in a cgroup now had to leave a CPU that they wanted."""
    total = 0
    for pid in (cgroup / "cgroup.procs").read_text(encoding="ascii").split():
        with contextlib.suppress(OSError):  # ended meanwhile
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
            total += int(status.rpartition("nonvoluntary_ctxt_switches:")[2])
    return total


class KernelAccount:
    """The kernel's account of a cgroup as a second instrument, with how far it may rightly be off.

    We charge wall time on the CPU; the kernel leaves out the time that a hypervisor stole meanwhile, and part
    of each change of tasks. How often the cgroup's processes were preempted is known while they live.
    """

    def __init__(self, cgroup: Path, steal_since_ns: int | None = None) -> None:
        """From now on; with `steal_since_ns` since the cgroup was made, which was after that reading."""
        self._cgroup = cgroup
        self._cpu_us = kernel_cpu_us(cgroup) if steal_since_ns is None else 0
        self._steal_ns = steal_ns() if steal_since_ns is None else steal_since_ns
        self._preemptions = _preemptions(cgroup) if steal_since_ns is None else 0

    def used_ns(self) -> int:
        """The kernel's figure for the stretch so far."""
        return (kernel_cpu_us(self._cgroup) - self._cpu_us) * 1000

    def agrees(self, ours_ns: int, ratio: float, slack_ns: int = 0) -> bool:
        """Whether our figure for the same stretch is the kernel's, within a ratio, steal allowed for."""
        kernel_ns = self.used_ns()
        stolen_ns = steal_ns() - self._steal_ns
        tick_ns = 20_000_000 if stolen_ns else 0
        preemptions = max(_preemptions(self._cgroup) - self._preemptions, 0)
        slack_ns += preemptions * _PER_PREEMPTION_NS
        least, most = kernel_ns * (1 - ratio), kernel_ns * (1 + ratio) + stolen_ns + tick_ns
        print(
            f"ours {ours_ns} ns, kernel {kernel_ns} ns, stolen on all CPUs {stolen_ns} ns, "
            f"preempted {preemptions} times"
        )
        return least - slack_ns <= ours_ns <= most + slack_ns


def start_ticks(pid: int) -> int:
    """When a process started, as /proc has it."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[19])
