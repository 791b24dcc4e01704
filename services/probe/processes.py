# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc lists them: the probe's seed for those born before it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PF_KTHREAD = 0x0020_0000  # include/linux/sched.h, Linux 6.1
# Places of fields in /proc/PID/stat after the ")" that ends comm; man 5 proc numbers them from 1.
_FLAGS, _STARTTIME = 9 - 3, 22 - 3


@dataclass(frozen=True)
class RunningProcess:
    """One live process: `start_ticks` in clock ticks since boot."""

    pid: int
    start_ticks: int
    kernel: bool
    comm: bytes


def parse_stat(pid: int, stat: bytes) -> RunningProcess:
    """From the content of /proc/PID/stat. The name may itself hold spaces and parentheses."""
    comm, rest = stat.split(b"(", 1)[1].rsplit(b")", 1)
    fields = rest.split()
    return RunningProcess(
        pid=pid,
        start_ticks=int(fields[_STARTTIME]),
        kernel=bool(int(fields[_FLAGS]) & _PF_KTHREAD),
        comm=comm,
    )


def running_processes(procfs: Path) -> Iterator[RunningProcess]:
    """Every process alive now; one that ends meanwhile is passed over."""
    for name in os.listdir(procfs):  # noqa: PTH208 names are enough, and there are thousands
        if name.isdecimal():
            try:
                stat = (procfs / name / "stat").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            yield parse_stat(int(name), stat)
