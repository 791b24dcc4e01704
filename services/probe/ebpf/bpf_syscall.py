# SPDX-License-Identifier: Apache-2.0
"""The few calls of bpf(2) that pinned objects need, through ctypes.

Kept apart from BCC so that the long-running reader never loads LLVM.
Source of numbers and layouts: include/uapi/linux/bpf.h, Linux 5.15.
"""

import ctypes
import errno
import mmap
import os
import platform
from collections.abc import Sequence
from pathlib import Path

# Number of bpf(2) by machine; arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}

MAP_CREATE, MAP_LOOKUP_ELEM, MAP_UPDATE_ELEM, MAP_DELETE_ELEM, PROG_LOAD = 0, 1, 2, 3, 5
OBJ_PIN, OBJ_GET = 6, 7
PROG_TEST_RUN = 10
RAW_TRACEPOINT_OPEN = 17
OBJ_GET_INFO_BY_FD = 15
MAP_LOOKUP_BATCH, MAP_DELETE_BATCH = 24, 27
LINK_CREATE = 28

ATTACH_TYPE_PERF_EVENT = 41
TEST_RUN_ON_CPU = 1
UPDATE_ANY, UPDATE_NOEXIST = 0, 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Elem(ctypes.Structure):
    _fields_ = (
        ("map_fd", ctypes.c_uint32),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    )


class _Obj(ctypes.Structure):
    _fields_ = (("pathname", ctypes.c_uint64), ("bpf_fd", ctypes.c_uint32), ("file_flags", ctypes.c_uint32))


class _TestRun(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("data_in", ctypes.c_uint64),
        ("data_out", ctypes.c_uint64),
        ("repeat", ctypes.c_uint32),
        ("duration", ctypes.c_uint32),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_uint64),
        ("ctx_out", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
    )


class _LinkCreate(ctypes.Structure):
    _fields_ = (
        ("prog_fd", ctypes.c_uint32),
        ("target_fd", ctypes.c_uint32),
        ("attach_type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cookie", ctypes.c_uint64),
    )


class _RawTracepoint(ctypes.Structure):
    _fields_ = (("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint32))


class _InfoByFd(ctypes.Structure):
    _fields_ = (("bpf_fd", ctypes.c_uint32), ("info_len", ctypes.c_uint32), ("info", ctypes.c_uint64))


class _MapInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
    )


def _bpf(command: int, attr: ctypes.Structure) -> int:
    machine = platform.machine()
    if machine not in _SYSCALL:
        raise OSError(errno.ENOSYS, f"no bpf(2) number known for {machine}; known: {', '.join(_SYSCALL)}")
    result = int(_libc.syscall(_SYSCALL[machine], command, ctypes.byref(attr), ctypes.sizeof(attr)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf(2) command {command}: {os.strerror(code)}")
    return result


def pin(fd: int, path: Path) -> None:
    """Give the object behind `fd` a name in bpffs, which keeps it alive without us."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    _bpf(OBJ_PIN, _Obj(pathname=ctypes.addressof(name), bpf_fd=fd))


def open_pinned(path: Path) -> int:
    """Descriptor of the object pinned at `path`; FileNotFoundError if there is none."""
    name = ctypes.create_string_buffer(os.fsencode(path))
    return _bpf(OBJ_GET, _Obj(pathname=ctypes.addressof(name)))


def link_raw_tracepoint(program_fd: int, tracepoint: str) -> int:
    """Attach a program to a raw tracepoint by a link, which can be pinned; FileNotFoundError without one."""
    name = ctypes.create_string_buffer(tracepoint.encode("ascii"))
    return _bpf(RAW_TRACEPOINT_OPEN, _RawTracepoint(name=ctypes.addressof(name), prog_fd=program_fd))


def link_perf_event(program_fd: int, event_fd: int) -> int:
    """Attach a program to a perf event by a link, which can be pinned (Linux 5.15 and newer)."""
    return _bpf(
        LINK_CREATE,
        _LinkCreate(prog_fd=program_fd, target_fd=event_fd, attach_type=ATTACH_TYPE_PERF_EVENT),
    )


def map_entries_max(map_fd: int) -> int:
    """How many entries a map was made for."""
    info = _MapInfo()
    _bpf(
        OBJ_GET_INFO_BY_FD,
        _InfoByFd(bpf_fd=map_fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info)),
    )
    return int(info.max_entries)


def run_on_cpu(program_fd: int, cpu: int) -> None:
    """Run a raw-tracepoint program once on `cpu`, with that CPU's current task; ENXIO if it is offline."""
    _bpf(PROG_TEST_RUN, _TestRun(prog_fd=program_fd, flags=TEST_RUN_ON_CPU, cpu=cpu))


def call(program_fd: int, *arguments: int) -> int:
    """Run a raw-tracepoint program once, here, with 64-bit arguments; what it returned."""
    context = (ctypes.c_uint64 * len(arguments))(*arguments)
    attr = _TestRun(prog_fd=program_fd, ctx_in=ctypes.addressof(context), ctx_size_in=ctypes.sizeof(context))
    _bpf(PROG_TEST_RUN, attr)
    return int(attr.retval)


def _address(buffer: bytearray | mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def lookup(map_fd: int, key: bytes, value_bytes: int) -> bytes | None:
    """Value of one key (of all CPUs one after the other in a per-CPU map), or None if absent."""
    key_buffer, value = bytearray(key), bytearray(value_bytes)
    try:
        _bpf(MAP_LOOKUP_ELEM, _Elem(map_fd=map_fd, key=_address(key_buffer), value=_address(value)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    return bytes(value)


def update(map_fd: int, key: bytes, value: bytes, flags: int = UPDATE_ANY) -> None:
    """Set one key; FileExistsError with UPDATE_NOEXIST if it is there."""
    key_buffer, value_buffer = bytearray(key), bytearray(value)
    _bpf(
        MAP_UPDATE_ELEM,
        _Elem(map_fd=map_fd, key=_address(key_buffer), value=_address(value_buffer), flags=flags),
    )


def delete(map_fd: int, key: bytes) -> bool:
    """Remove one key; False if it was not there."""
    key_buffer = bytearray(key)
    try:
        _bpf(MAP_DELETE_ELEM, _Elem(map_fd=map_fd, key=_address(key_buffer)))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def delete_all(map_fd: int, keys: Sequence[bytes]) -> None:
    """Remove many keys of a hash in one call; those that are not there are passed over."""
    while keys:
        buffer = bytearray().join(keys)
        attr = _Batch(keys=_address(buffer), count=len(keys), map_fd=map_fd)
        try:
            _bpf(MAP_DELETE_BATCH, attr)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            keys = keys[attr.count + 1 :]  # it stops at the first that is not there
        else:
            return


class HashReader:
    """Reads a whole hash in one call into buffers made once.

    Shapes: keys and values come as flat memoryviews of bytes, row after row, in the map's own order;
    they are overwritten by the next read.
    """

    def __init__(self, map_fd: int, key_bytes: int, value_bytes: int) -> None:
        self._map_fd = map_fd
        self._key_bytes = key_bytes
        self._value_bytes = value_bytes
        self._rows = map_entries_max(map_fd)
        # Mapped rather than allocated: what no row ever reaches takes no memory.
        self._keys = mmap.mmap(-1, key_bytes * self._rows)
        self._values = mmap.mmap(-1, value_bytes * self._rows)
        self._token = bytearray(8)

    def read(self) -> tuple[memoryview, memoryview]:
        """(keys, values)."""
        attr = _Batch(
            out_batch=_address(self._token),
            keys=_address(self._keys),
            values=_address(self._values),
            count=self._rows,
            map_fd=self._map_fd,
        )
        try:
            _bpf(MAP_LOOKUP_BATCH, attr)
        except OSError as error:
            if error.errno != errno.ENOENT:  # the end of the map was reached, which is the normal case
                raise
        count = int(attr.count)
        return (
            memoryview(self._keys)[: count * self._key_bytes],
            memoryview(self._values)[: count * self._value_bytes],
        )
