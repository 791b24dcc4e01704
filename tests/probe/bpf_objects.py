# SPDX-License-Identifier: Apache-2.0
"""What is loaded in the kernel, as the kernel lists it."""

import ctypes
import os
import struct

from services.probe.ebpf import bpf_syscall as bpf

_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID = 11, 13
_NAME_AT, _NAME_BYTES, _INFO_BYTES = 64, 16, 232  # struct bpf_prog_info
_RUN_TIME_AT = 192


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


def attached_programs(name: str) -> list[int]:
    """Ids of loaded programs of a name (the kernel keeps 15 characters)."""
    found = []
    for number, fd in _programs():
        raw = info(fd)[_NAME_AT : _NAME_AT + _NAME_BYTES].split(b"\0")[0]
        if raw.decode() == name[:15]:
            found.append(number)
        os.close(fd)
    return found
