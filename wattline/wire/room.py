# SPDX-License-Identifier: Apache-2.0
"""Errors of a full file system, with its name, its size and the cure."""

import errno
import os
from pathlib import Path

from wattline.errors import Retry
from wattline.mounts import mounts

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MIB = 1024 * 1024


class NoRoom(OSError, Retry):  # noqa: N818 as its base classes are named
    """A file could not be made or grown: its file system is full. A later attempt may find room."""

    def __str__(self) -> str:
        """The text alone, without the number."""
        return str(self.strerror)


def is_full(error: OSError) -> bool:
    """True for an error that means a full file system."""
    return error.errno in _FULL


def no_room(path: Path, wanted_bytes: int) -> NoRoom:
    """The error to raise where `path` needs so many bytes that its file system doesn't have."""
    return NoRoom(errno.ENOSPC, full_text(path, wanted_bytes))


def full_text(path: Path, wanted_bytes: int) -> str:
    """Which file system is full, its size, what is wanted there, and the cure."""
    place = _mount_point(path.parent)
    kind = dict(mounts()).get(place, "file system")  # the last mount on a place covers those before it
    size = os.statvfs(place)
    free = f"{size.f_bavail * size.f_frsize / _MIB:.1f} MiB"
    total = f"{size.f_blocks * size.f_frsize / _MIB:.1f} MiB"
    if size.f_files and not size.f_favail:
        free, total = "no inode", f"{size.f_files} inodes"
    cure = "remove files there or enlarge it"
    if kind == "tmpfs":
        cure += f" (mount -o remount,size=… {place}; in a container, the size of its volume)"
    wanted = f"{wanted_bytes / _MIB:.1f} MiB" if wanted_bytes else "a file"
    what = os.strerror(errno.ENOSPC)
    return (
        f"{what}: the {kind} at {place} is full: {free} of {total} free, {wanted} wanted for {path}; {cure}"
    )


def _mount_point(path: Path) -> Path:
    """The mount that a path lies in."""
    place = path.resolve()
    while not place.is_mount():
        place = place.parent
    return place
