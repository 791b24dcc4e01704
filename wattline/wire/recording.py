# SPDX-License-Identifier: Apache-2.0
r"""A recording: the frames that some streams carried, byte for byte, in the order in which they arrived.

    b"wattline recording 1\n"       the number is the version of this format
    then for each frame, little-endian:
        +0  length    u32   bytes of payload, at least 1
        +4  checksum  u32   CRC-32 of the payload (as in zlib)
        +8  payload         the frame as it was on the wire (docs/wire.md)

It holds the name of every process of its node, so only its owner may read it. Whatever ended its writer, the
file is good up to its last whole record.
"""

import contextlib
import errno
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

from wattline.errors import Fatal

from .codec import FRAME_BYTES_MAX

VERSION = 1
_MAGIC_WORDS = b"wattline recording "
MAGIC = _MAGIC_WORDS + b"%d\n" % VERSION
_MAGIC_BYTES_MAX = len(_MAGIC_WORDS) + 12  # room for the version number of any later format
_HEAD = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_MODE = 0o600
_CHUNK_BYTES = 1 << 20


class RecordingWriter:
    """Makes a recording. Each frame is with the kernel when `write` returns."""

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        """Raises Fatal if there is something at `path`; with `replace` only if that is no plain file."""
        self.path = path
        self.frames = 0
        if replace:
            _remove(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, _MODE)
        except FileExistsError:
            raise Fatal(
                f"{path} is there already: choose another name, or let --force replace it", Fatal.USAGE
            ) from None
        except OSError as error:
            raise Fatal(
                f"cannot make {path}: {error.strerror}; expected a name in a directory that is there and "
                f"that uid {os.geteuid()} may write to",
                Fatal.PERMISSION if isinstance(error, PermissionError) else Fatal.FAILED,
            ) from None
        os.fchmod(self._descriptor, _MODE)  # whatever the umask has taken away
        self.bytes = 0
        self._append(MAGIC)

    def write(self, payload: bytes) -> None:
        """Append a frame. Raises Fatal, with the file as it was before, if there is no room for it."""
        self._append(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload)
        self.frames += 1

    def close(self) -> None:
        """To the disk, and done."""
        with contextlib.suppress(OSError):  # what could be said of it has been said by write
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.bytes)
            raise Fatal(
                f"cannot write to {self.path}: {error.strerror}; it is whole up to its frame {self.frames}"
            ) from None
        self.bytes += len(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def _remove(path: Path) -> None:
    """Take a plain file away; anything else of that name is no recording to be replaced."""
    try:
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode):
            raise Fatal(f"{path} is no plain file: --force does not replace it", Fatal.USAGE)
        path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise Fatal(f"cannot replace {path}: {error.strerror}", Fatal.PERMISSION) from None


class RecordingReader:
    """The payloads of a recording, one after another, in constant memory.

    `torn` says what is missing once the end has been read; it is empty for a whole recording.
    """

    def __init__(self, path: Path) -> None:
        """Raises Fatal if it can't be read or is no recording."""
        self.path = path
        self.torn = ""
        self._file = _opened(path)
        self._offset = len(MAGIC)
        try:
            self._check_magic()
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[bytes]:
        """Goes on where the one before stopped. Raises Fatal where the file is damaged."""
        while (payload := self._next()) is not None:
            yield payload

    def close(self) -> None:
        """Done."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _check_magic(self) -> None:
        line = self._file.readline(_MAGIC_BYTES_MAX)
        if line == MAGIC:
            return
        version = line.removeprefix(_MAGIC_WORDS).removesuffix(b"\n")
        if line.startswith(_MAGIC_WORDS) and line.endswith(b"\n") and version.isdigit():
            raise Fatal(
                f"{self.path} is a recording of version {int(version)}, expected {VERSION}: read it with the "
                "Wattline that made it, or a newer one",
                Fatal.SETTINGS,
            )
        got = f"begins with {line[:24]!r}" if line else "is empty"
        raise Fatal(
            f"{self.path} is no recording: it {got}, expected {MAGIC!r}, as `wattline record` makes it",
            Fatal.SETTINGS,
        )

    def _next(self) -> bytes | None:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            self._end(len(head))
            return None
        length, checksum = _HEAD.unpack(head)
        if not 0 < length <= FRAME_BYTES_MAX:
            # Room that was set aside but not filled before the power went.
            if not any(head) and (zeros := self._rest_if_zero()) is not None:
                self._end(len(head) + zeros)
                return None
            raise self._damaged(f"a length of {length}, expected 1 to {FRAME_BYTES_MAX}")
        payload = self._file.read(length)
        if len(payload) < length:
            if _is_whole_but_shorter(payload, length, checksum):
                raise self._damaged(f"a length of {length}, with which its checksum does not agree")
            self._end(len(head) + len(payload))
            return None
        if zlib.crc32(payload) != checksum:
            raise self._damaged("a payload that differs from its checksum")
        self._offset += len(head) + length
        return payload

    def _end(self, left_over: int) -> None:
        if left_over:
            self.torn = (
                f"{self.path} ends within a record, {left_over} bytes of which are there from byte "
                f"{self._offset} on (a crash, a full disk, or it is still being written): read up to there"
            )

    def _rest_if_zero(self) -> int | None:
        """How many bytes follow, if all of them are 0."""
        count = 0
        while chunk := self._file.read(_CHUNK_BYTES):
            if any(chunk):
                return None
            count += len(chunk)
        return count

    def _damaged(self, what: str) -> Fatal:
        return Fatal(
            f"{self.path} is damaged: at byte {self._offset} it has {what}; what is before it can be read "
            f"from a copy of the first {self._offset} bytes (head -c {self._offset})"
        )


def _opened(path: Path) -> BinaryIO:
    # Non-blocking, or a pipe of that name would hold us for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        raise Fatal(
            f"{path} may not be read by uid {os.geteuid()}: a recording is its owner's alone; run this as "
            "that user",
            Fatal.PERMISSION,
        ) from None
    except OSError as error:
        kind = "there is no recording" if error.errno == errno.ENOENT else f"{error.strerror}:"
        raise Fatal(f"{kind} {path}; `wattline record {path}` makes one", Fatal.SETTINGS) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Fatal(f"{path} is no plain file, expected a recording", Fatal.SETTINGS)
    return os.fdopen(descriptor, "rb")


def _is_whole_but_shorter(data: bytes, length: int, checksum: int) -> bool:
    """True if `data` begins with a payload of this checksum whose length differs from `length` in one byte.

    Or if all of `data` is one. Then nothing is torn, but the length was damaged. Other lengths are not tried:
    a checksum for each byte of a large record would take minutes and now and then find one by chance.
    """
    stored = _LENGTH.pack(length)
    ends = {len(data)}
    for place in range(_LENGTH.size):
        for byte in range(256):
            (end,) = _LENGTH.unpack(stored[:place] + bytes([byte]) + stored[place + 1 :])
            if 0 < end < len(data):
                ends.add(end)
    running = start = 0
    view = memoryview(data)
    for end in sorted(ends):
        running, start = zlib.crc32(view[start:end], running), end
        if running == checksum:
            return True
    return False
