# SPDX-License-Identifier: Apache-2.0
"""perf_event_open(2) for events that count on one CPU for the whole system."""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from typing import NamedTuple

from wattline.confine.system_calls import EBPF, Numbers, numbers

# What a process needs that opens such events. CAP_PERFMON: since Linux 5.8, before that CAP_SYS_ADMIN.
CAPABILITY = "CAP_PERFMON"
CALLS: Mapping[str, Numbers] = {"perf_event_open": EBPF["perf_event_open"]}

# include/uapi/linux/perf_event.h, Linux 6.1: struct perf_event_attr up to config1 (PERF_ATTR_SIZE_VER0).
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
_READ_FORMAT = 1 | 2  # PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_COUNT = struct.Struct("=QQQ")

_libc = ctypes.CDLL(None, use_errno=True)


class Count(NamedTuple):
    """A count, and for how long the event was enabled and was really counted, in ns."""

    value: int
    enabled_ns: int
    running_ns: int


class EndedError(ValueError):
    """The kernel no longer counts an event."""


class CpuEvent:
    """An event that counts on one CPU from 0 until it is closed."""

    def __init__(self, pmu_type: int, config: int, cpu: int) -> None:
        """Open it. Raises OSError, whose text says what to do."""
        attributes = ctypes.create_string_buffer(
            _ATTRIBUTES.pack(pmu_type, _ATTRIBUTES.size, config, 0, 0, _READ_FORMAT, 0, 0, 0, 0),
            _ATTRIBUTES.size,
        )
        every_process, no_group = ctypes.c_int(-1), ctypes.c_int(-1)
        self._descriptor: int | None = _libc.syscall(
            ctypes.c_long(_number()),
            attributes,
            every_process,
            ctypes.c_int(cpu),
            no_group,
            ctypes.c_ulong(_CLOSE_ON_EXEC),
        )
        if self._descriptor == -1:
            self._descriptor = None
            code = ctypes.get_errno()
            raise OSError(code, f"perf_event_open on CPU {cpu}: {os.strerror(code)}{_cure(code)}")

    def read(self) -> Count:
        """Return the count. Raises EndedError (the CPU went offline, say) and OSError."""
        if self._descriptor is None:
            raise EndedError("the event is closed")
        data = os.read(self._descriptor, _COUNT.size)
        if len(data) != _COUNT.size:
            raise EndedError(
                f"expected {_COUNT.size} bytes of a count, got {len(data)}: the kernel ended the event"
            )
        return Count(*_COUNT.unpack(data))

    def close(self) -> None:
        """Close it; its count is lost."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _number() -> int:
    try:
        return numbers(platform.machine(), CALLS)["perf_event_open"]
    except KeyError as error:
        raise OSError(errno.ENOSYS, f"perf_event_open: no number known for architecture {error}") from None


def _cure(code: int) -> str:
    match code:
        case errno.EACCES | errno.EPERM:
            return (
                " (counting for the whole system takes CAP_PERFMON, CAP_SYS_ADMIN before Linux 5.8, or "
                "kernel.perf_event_paranoid of 0 or less; a container engine's seccomp profile may deny the "
                "call as well)"
            )
        case errno.ENODEV | errno.ENXIO:
            return " (the CPU is offline, or the PMU is gone)"
        case errno.EINVAL | errno.ENOENT:
            return " (the PMU has no such event on this CPU)"
    return ""
