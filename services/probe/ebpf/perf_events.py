# SPDX-License-Identifier: Apache-2.0
"""Perf events: hardware counters of a CPU, and tracepoints to attach to. perf_event_open(2), through ctypes.

Source of numbers and layouts: include/uapi/linux/perf_event.h, Linux 5.15.
"""

import ctypes
import errno
import os
import platform
import struct
import time
from collections.abc import Sequence

from . import bpf_syscall as bpf

# Number of perf_event_open(2) by machine, as in bpf_syscall.py.
_SYSCALL = {"x86_64": 298, "aarch64": 241, "riscv64": 241}

_TYPE_HARDWARE, _TYPE_SOFTWARE, _TYPE_TRACEPOINT = 0, 1, 2
_FLAG_FD_CLOEXEC = 8
_ATTR_SIZE_VER0 = 64

# What can be counted, as (type, config). The software clocks are there on every machine: they tell whether
# the way of a counter into the rows is right where the machine has no hardware ones.
COUNTERS = {
    "cycles": (_TYPE_HARDWARE, 0),
    "instructions": (_TYPE_HARDWARE, 1),
    "cache_misses": (_TYPE_HARDWARE, 3),
    "ref_cycles": (_TYPE_HARDWARE, 9),
    "cpu_clock": (_TYPE_SOFTWARE, 0),
    "task_clock": (_TYPE_SOFTWARE, 1),
}

_libc = ctypes.CDLL(None, use_errno=True)


class _PerfEventAttr(ctypes.Structure):
    # Only the first fields of struct perf_event_attr; `size` tells the kernel how many.
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("config", ctypes.c_uint64),
        ("sample_period", ctypes.c_uint64),
        ("sample_type", ctypes.c_uint64),
        ("read_format", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
        ("wakeup_events", ctypes.c_uint32),
        ("bp_type", ctypes.c_uint32),
        ("config1", ctypes.c_uint64),
    )


def _open(attr: _PerfEventAttr, cpu: int, what: str) -> int:
    machine = platform.machine()
    if machine not in _SYSCALL:
        raise OSError(errno.ENOSYS, f"no perf_event_open(2) number known for {machine}")
    everybody, no_group = -1, -1
    fd = int(_libc.syscall(_SYSCALL[machine], ctypes.byref(attr), everybody, cpu, no_group, _FLAG_FD_CLOEXEC))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"perf_event_open(2) of {what} on CPU {cpu}: {os.strerror(code)}")
    return fd


def open_counter(name: str, cpu: int) -> int:
    """Descriptor of a counter of everything that runs on a CPU. Raises OSError where there is none."""
    kind, config = COUNTERS[name]
    return _open(_PerfEventAttr(type=kind, size=_ATTR_SIZE_VER0, config=config), cpu, name)


def give_counters(table_fd: int, opened_fd: int, names: Sequence[str], cpu: int, cpu_count: int) -> None:
    """Open a CPU's counters into the table of perf events, which keeps them, and note when.

    Raises OSError where there are none.
    """
    for number, name in enumerate(names):
        event = open_counter(name, cpu)
        try:
            bpf.update(table_fd, struct.pack("<I", number * cpu_count + cpu), struct.pack("<I", event))
        finally:
            os.close(event)
    bpf.update(opened_fd, struct.pack("<I", cpu), struct.pack("<Q", time.monotonic_ns()))


def open_tracepoint(tracepoint_id: int) -> int:
    """Descriptor of a tracepoint, on CPU 0; a BPF program attached to it runs for it on every CPU."""
    attr = _PerfEventAttr(
        type=_TYPE_TRACEPOINT, size=_ATTR_SIZE_VER0, config=tracepoint_id, sample_period=1, wakeup_events=1
    )
    return _open(attr, 0, f"tracepoint {tracepoint_id}")


def counter_error(name: str, cpu: int) -> int:
    """Error number of why a counter can't be had: this machine has none, or does not let us; 0 if it can."""
    try:
        os.close(open_counter(name, cpu))
    except OSError as error:
        return error.errno or errno.EIO
    return 0
