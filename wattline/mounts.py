# SPDX-License-Identifier: Apache-2.0
"""Mounted file systems as the kernel lists them: the only parser of /proc/self/mounts and mountinfo.

Fields are bytes that strangers chose. A source may be empty, so fields are split at single spaces; a path may
hold anything but NUL, so only a newline ends a line. Source: fs/proc_namespace.c, Linux 6.1; man 5
proc_pid_mountinfo.
"""

import contextlib
import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WORDS_MIN = 3  # source, mount point, type
_FIXED = 6  # mountinfo's fields before the optional ones, which end with "-"
# Space, tab, newline, backslash and "#" in a field: mangle in fs/proc_namespace.c.
_ESCAPED = re.compile(rb"\\([0-3][0-7]{2})")
_DEVICE = re.compile(rb"([0-9]{1,10}):([0-9]{1,10})")


@dataclass(frozen=True)
class Mount:
    """One line of mountinfo. `root`: the path within the file system that is mounted at `place`."""

    device: tuple[int, int]  # major, minor
    root: str
    place: Path
    kind: str
    flags: tuple[str, ...]  # of this mount
    options: tuple[str, ...]  # of the file system, the same wherever it is mounted


def mounts(procfs: Path = Path("/proc")) -> Iterator[tuple[Path, str]]:
    """Yield (mount point, type of file system) in the order of mounting. Raises OSError."""
    for line in (procfs / "self/mounts").read_bytes().split(b"\n"):
        words = line.split(b" ")
        if len(words) >= _WORDS_MIN:
            yield Path(_unescaped(words[1])), _unescaped(words[2])


def mount_details(procfs: Path = Path("/proc"), process: str = "self") -> Iterator[Mount]:
    """Yield what mountinfo says of each mount that a process sees, in the order of mounting. Raises OSError.

    Lines that are not of its form are skipped.
    """
    for line in (procfs / process / "mountinfo").read_bytes().split(b"\n"):
        words = line.split(b" ")
        device = _DEVICE.fullmatch(words[2]) if len(words) > _FIXED else None
        if device is None or b"-" not in words[_FIXED:]:
            continue
        kind, _source, options, *_ = [*words[words.index(b"-", _FIXED) + 1 :], b"", b"", b""]
        yield Mount(
            device=(int(device[1]), int(device[2])),
            root=_unescaped(words[3]),
            place=Path(_unescaped(words[4])),
            kind=_unescaped(kind),
            flags=tuple(map(_unescaped, words[5].split(b","))),
            options=tuple(map(_unescaped, options.split(b","))),
        )


def _unescaped(field: bytes) -> str:
    # Bytes that are not UTF-8 come through unchanged, as in every path of Python's.
    return os.fsdecode(_ESCAPED.sub(lambda match: bytes([int(match[1], 8)]), field))


class MountWatch:
    """Tells whether anything was mounted or unmounted since it was last asked, without reading the list.

    Source: mounts_poll in fs/proc_namespace.c; a change is POLLPRI and POLLERR on the open file, once.
    """

    def __init__(self, procfs: Path = Path("/proc")) -> None:
        """Without a list to watch (no proc file system there) every question is answered by yes."""
        self._asked = False
        self._fd: int | None = None
        with contextlib.suppress(OSError):
            self._fd = os.open(procfs / "self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLPRI | select.POLLERR)

    def has_changed(self) -> bool:
        """True the first time, and after each change."""
        if not self._asked or self._fd is None:
            self._asked = True
            return True
        # Not asked for is "readable", which is always true.
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close the list."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
