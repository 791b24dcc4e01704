# SPDX-License-Identifier: Apache-2.0
"""A mapped file that always holds one whole payload: the `last` frame of a stage, or the ledger.

Layout, little-endian (docs/wire.md has it for other languages):

    0   magic      8 bytes  b"WATTLN01"
    8   capacity   u64      bytes of payload a slot can hold
    16  slot 0, slot 1, each:
        +0   valid     u64  1 when the rest of the slot is complete, written last
        +8   sequence  u64  the larger one of two valid slots is the newer
        +16  length    u64  bytes of payload
        +24  checksum  u64  CRC-32 of sequence, length and payload
        +32  payload   `capacity` bytes

The writer overwrites the older slot only, so a writer killed at any byte leaves the newer one whole.
Payloads that outgrow the capacity go to a larger file that replaces this one by rename.

The writer maps the file, readers read it: a reader that maps a file which another user then shortens dies
of SIGBUS.
"""

import contextlib
import errno
import mmap
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

from wattline.opened import directory

from .room import NoRoom, is_full, no_room

MAGIC = b"WATTLN01"
_HEADER = struct.Struct("<8sQ")
_SLOT = struct.Struct("<QQQQ")
_CHECKED = struct.Struct("<QQ")
_U64 = struct.Struct("<Q")
_CAPACITY_MIN = 64 * 1024
_SEQUENCE_MAX = 2**63
PAYLOAD_BYTES_MAX = 256 * 1024 * 1024  # what a damaged or hostile length can make a reader allocate
# A fast writer may pass through both slots while we copy; measured at full speed, the second or third
# attempt finds one whole.
_ATTEMPTS = 20


class Damaged(ValueError):  # noqa: N818 it is what the file is
    """The file exists but holds no whole payload."""


def _checksum(sequence: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_CHECKED.pack(sequence, len(payload))))


def _slot_offset(slot: int, capacity: int) -> int:
    return _HEADER.size + slot * (_SLOT.size + capacity)


def _file_bytes(capacity: int) -> int:
    return _slot_offset(2, capacity)


class _Slot(NamedTuple):
    """`payload` is None unless it is what the checksum is of, and was not changed while it was copied."""

    mark: int
    sequence: int
    payload: bytes | None


def _read_slot(descriptor: int, slot: int, capacity: int) -> _Slot:
    offset = _slot_offset(slot, capacity)
    before = os.pread(descriptor, _SLOT.size, offset)
    if len(before) < _SLOT.size:
        return _Slot(0, 0, None)
    mark, sequence, length, checksum = _SLOT.unpack(before)
    if length > min(capacity, PAYLOAD_BYTES_MAX):
        return _Slot(mark, sequence, None)
    payload = os.pread(descriptor, length, offset + _SLOT.size)
    unchanged = os.pread(descriptor, _SLOT.size, offset) == before
    is_whole = unchanged and len(payload) == length and _checksum(sequence, payload) == checksum
    return _Slot(mark, sequence, payload if is_whole else None)


def slots(path: Path) -> list[tuple[int, bytes]]:
    """(sequence, payload) of each slot that is valid and whole, newest first.

    Raises FileNotFoundError; Damaged if the file isn't of this kind.
    """
    found = [
        (slot.sequence, slot.payload)
        for slot in _read_slots(path)
        if slot.mark == 1 and slot.payload is not None
    ]
    return sorted(found, reverse=True)


def read_committed(path: Path) -> bytes:
    """The newest payload of a file that nobody is writing, if all of it can be trusted.

    A slot whose writer was killed before it set the mark counts if it is whole, and else as not written:
    the one before is what was last committed. A slot that is marked valid and is not whole was damaged
    later: the other one may be older than what the world has seen.
    Raises FileNotFoundError; Damaged.
    """
    found = _read_slots(path)
    for number, slot in enumerate(found):
        if slot.mark and slot.payload is None:
            raise Damaged(f"{path}: slot {number} is marked complete, but its checksum is of other bytes")
    whole = [(slot.sequence, slot.payload) for slot in found if slot.payload is not None and slot.sequence]
    if not whole:
        raise Damaged(f"{path}: neither slot was ever completed")
    return max(whole)[1]


def _read_slots(path: Path) -> list[_Slot]:
    # Non-blocking, or a pipe of that name would hold us for ever.
    try:
        with directory(path.parent) as parent:
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(path.name, flags, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise Damaged(f"{path}: expected a plain file") from None
        raise
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise Damaged(f"{path}: expected a plain file")
        header = os.pread(descriptor, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            raise Damaged(f"{path}: expected at least {_HEADER.size} bytes, got {info.st_size}")
        magic, capacity = _HEADER.unpack(header)
        if magic != MAGIC or info.st_size != _file_bytes(capacity):
            raise Damaged(
                f"{path}: expected {MAGIC!r} and {_file_bytes(capacity)} bytes, "
                f"got {magic!r} and {info.st_size}"
            )
        return [_read_slot(descriptor, slot, capacity) for slot in (0, 1)]
    finally:
        os.close(descriptor)


def read(path: Path) -> bytes:
    """The newest whole payload. Raises FileNotFoundError, or Damaged."""
    for _attempt in range(_ATTEMPTS):
        whole = slots(path)
        if whole:
            return whole[0][1]
    raise Damaged(f"{path}: neither slot is valid")


def file_at(path: Path) -> tuple[int, int] | None:
    """(device, inode) of what is at a path now; None if nothing is, or it can't be seen."""
    try:
        info = path.lstat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


class SlotWriter:
    """The one writer of a two-slot file (callers hold the service's lock). Made with mode 0640."""

    def __init__(self, path: Path) -> None:
        """Goes on from the newest slot of an existing file; a damaged one is begun anew."""
        self.path = path
        self._sequence = 0
        self._slot = 0
        self._capacity = 0
        self._map: mmap.mmap | None = None
        self._file: tuple[int, int] | None = None
        try:
            whole = slots(path)
        except (FileNotFoundError, Damaged):
            return
        if whole:
            sequence, payload = whole[0]
            # No writer gets there by counting; going on from it, one would soon have no number left.
            self._sequence = sequence if sequence <= _SEQUENCE_MAX else 1
            with contextlib.suppress(NoRoom):  # the next write tries again
                self._create(payload)

    def write(self, payload: bytes) -> None:
        """Replace the older slot; readers see this payload or the one before, nothing else.

        A file that was removed or replaced meanwhile is made anew.
        Raises ValueError if it is larger than a reader would take, NoRoom if its file system is full; then
        the file keeps what it had.
        """
        if len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError(f"{self.path}: expected at most {PAYLOAD_BYTES_MAX} bytes, got {len(payload)}")
        self._sequence += 1
        if self._map is None or len(payload) > self._capacity or file_at(self.path) != self._file:
            self._create(payload)
        else:
            self._slot = 1 - self._slot
            self._fill(payload)

    def close(self) -> None:
        """Unmap; the file stays."""
        if self._map is not None:
            self._map.close()
            self._map = None

    def _create(self, payload: bytes) -> None:
        """Put a file with room for twice the payload in place, holding it."""
        capacity = max(_CAPACITY_MIN, -(-len(payload) * 2 // mmap.PAGESIZE) * mmap.PAGESIZE)
        fresh = self.path.with_name(f".{self.path.name}.new")
        fresh.unlink(missing_ok=True)
        try:
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        except OSError as error:
            if is_full(error):
                raise no_room(self.path, 0) from None
            raise
        try:
            os.fchmod(descriptor, 0o640)  # whatever the umask: the common group reads it
            # Allocated, not sparse: a full tmpfs must fail here with ENOSPC, not later with SIGBUS.
            os.posix_fallocate(descriptor, 0, _file_bytes(capacity))
            mapped = mmap.mmap(descriptor, _file_bytes(capacity))
            info = os.fstat(descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            if is_full(error):
                raise no_room(self.path, _file_bytes(capacity)) from None
            raise
        finally:
            os.close(descriptor)
        self.close()
        self._map, self._capacity, self._slot = mapped, capacity, 0
        self._file = (info.st_dev, info.st_ino)
        self._store(0, _HEADER.pack(MAGIC, capacity))
        self._fill(payload)
        fresh.replace(self.path)

    def _fill(self, payload: bytes) -> None:
        offset = _slot_offset(self._slot, self._capacity)
        self._store(offset, _U64.pack(0))
        self._store(offset + _SLOT.size, payload)
        checksum = _checksum(self._sequence, payload)
        self._store(offset, _SLOT.pack(0, self._sequence, len(payload), checksum))
        self._store(offset, _U64.pack(1))

    def _store(self, offset: int, data: bytes) -> None:
        assert self._map is not None
        self._map[offset : offset + len(data)] = data
