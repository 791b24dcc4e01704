# SPDX-License-Identifier: Apache-2.0
"""What is loaded in the kernel, as the kernel lists it."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from services.probe.ebpf import bpf_syscall as bpf

_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _MAP_GET_FD_BY_ID = 11, 13, 14
_NAME_AT, _NAME_BYTES, _INFO_BYTES = 64, 16, 232  # struct bpf_prog_info
_RUN_TIME_AT = 192
_MAP_IDS_AT, _MAP_IDS_MAX = 52, 64  # their number; where they are to be written stands 4 bytes on
_PID_LOW = 2048


class _Id(ctypes.Structure):
    _fields_ = (("id", ctypes.c_uint32), ("next_id", ctypes.c_uint32), ("flags", ctypes.c_uint32))


def _programs():
    number = 0
    while True:
        attr = _Id(id=number)
        try:
            bpf._bpf(_PROG_GET_NEXT_ID, attr)
        except FileNotFoundError:
            return
        number = attr.next_id
        try:
            yield number, bpf._bpf(_PROG_GET_FD_BY_ID, _Id(id=number))
        except FileNotFoundError:
            continue


def info(fd: int) -> bytes:
    """struct bpf_prog_info of a program."""
    buffer = ctypes.create_string_buffer(_INFO_BYTES)
    bpf._bpf(
        bpf.OBJ_GET_INFO_BY_FD,
        bpf._InfoByFd(bpf_fd=fd, info_len=_INFO_BYTES, info=ctypes.addressof(buffer)),
    )
    return buffer.raw


def run_statistics(fd: int) -> tuple[int, int]:
    """(ns, calls) that a program has run, while statistics were on."""
    return struct.unpack_from("<QQ", info(fd), _RUN_TIME_AT)


def own_sizes(process_rows: int = 4096) -> dict[str, int]:
    """Table sizes that only this test run gives to a program: its process id is in them."""
    high, low = divmod(os.getpid(), _PID_LOW)
    return {"process_rows": process_rows + low, "cgroup_rows": 1024 + high}


def programs_of(sizes: dict[str, int], name: str = "on_sched_switch") -> list[int]:
    """Ids of loaded programs of a name (the kernel keeps 15 characters) that use tables of these sizes."""
    found = []
    for number, fd in _programs():
        raw = info(fd)[_NAME_AT : _NAME_AT + _NAME_BYTES].split(b"\0")[0]
        if raw.decode() == name[:15] and set(sizes.values()) <= set(_map_sizes(fd)):
            found.append(number)
        os.close(fd)
    return found


def _map_sizes(program_fd: int) -> Iterator[int]:
    ids = (ctypes.c_uint32 * _MAP_IDS_MAX)()
    buffer = ctypes.create_string_buffer(_INFO_BYTES)
    struct.pack_into("<IQ", buffer, _MAP_IDS_AT, _MAP_IDS_MAX, ctypes.addressof(ids))
    bpf._bpf(
        bpf.OBJ_GET_INFO_BY_FD,
        bpf._InfoByFd(bpf_fd=program_fd, info_len=_INFO_BYTES, info=ctypes.addressof(buffer)),
    )
    (count,) = struct.unpack_from("<I", buffer, _MAP_IDS_AT)
    for number in ids[:count]:
        with _map(number) as fd:
            yield bpf.map_entries_max(fd)


@contextmanager
def _map(number: int) -> Iterator[int]:
    fd = bpf._bpf(_MAP_GET_FD_BY_ID, _Id(id=number))
    try:
        yield fd
    finally:
        os.close(fd)
