# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc lists them: the eBPF program's seed, and what the procfs backend lives on."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from wattline.decimal import decimal

_PF_KTHREAD = 0x0020_0000  # include/linux/sched.h, Linux 6.1
# Places of fields in /proc/PID/stat after the ")" that ends comm; man 5 proc numbers them from 1.
_FLAGS, _UTIME, _STIME, _STARTTIME = 9 - 3, 14 - 3, 15 - 3, 22 - 3
_COMM_BYTES_MAX = 15  # TASK_COMM_LEN less its NUL, include/linux/sched.h
_WORKER, _RESCUER = b"kworker/", b"kworker/R-"


@dataclass(frozen=True)
class RunningProcess:
    """One live process: `start_ticks` in clock ticks since boot, `cpu_ticks` used by all its threads since.

    The kernel rounds user and system time down to whole ticks each, so `cpu_ticks` is up to two too low.
    """

    pid: int
    start_ticks: int
    kernel: bool
    comm: bytes
    cpu_ticks: int


def parse_stat(pid: int, stat: bytes) -> RunningProcess:
    """From the content of /proc/PID/stat. The name may itself hold spaces, parentheses and newlines.

    Raises ValueError if this is not such a content, or only the beginning of one.
    """
    head, closed, tail = stat.rpartition(b")")
    _pid, opened, comm = head.partition(b"(")
    fields = tail.split(None, _STARTTIME + 1)
    if not closed or not opened or len(fields) <= _STARTTIME:
        raise ValueError(f"/proc/{pid}/stat: expected {_STARTTIME + 3} fields, got {stat[:200]!r}")
    kernel = bool(decimal(fields[_FLAGS]) & _PF_KTHREAD)
    return RunningProcess(
        pid=pid,
        start_ticks=decimal(fields[_STARTTIME]),
        kernel=kernel,
        comm=_kernel_comm(comm) if kernel else comm,
        cpu_ticks=decimal(fields[_UTIME]) + decimal(fields[_STIME]),
    )


def _kernel_comm(comm: bytes) -> bytes:
    """A kernel thread's name as eBPF sees it: /proc spells it out in full.

    It also adds a worker's last work ("kworker/0:1-events"): such a name would change every second.
    Source: wq_worker_comm in kernel/workqueue.c, proc_task_name in fs/proc/array.c, Linux 6.12.
    """
    if comm.startswith(_WORKER) and not comm.startswith(_RESCUER):
        comm = comm.replace(b"+", b"-").partition(b"-")[0]
    return comm[:_COMM_BYTES_MAX]


def running_process(procfs: Path, pid: int) -> RunningProcess | None:
    """One process, if it is there and we may look at it."""
    try:
        return parse_stat(pid, (procfs / str(pid) / "stat").read_bytes())
    except (OSError, ValueError):
        return None


def running_processes(procfs: Path) -> Iterator[RunningProcess]:
    """Every process alive now that we may look at; one that ends meanwhile is passed over."""
    for name in os.listdir(procfs):  # noqa: PTH208 names are enough, and there are thousands
        process = running_process(procfs, int(name)) if name.isdecimal() else None
        if process is not None:
            yield process
