# SPDX-License-Identifier: Apache-2.0
"""Directories by descriptor, so that no link is followed and what was checked is what is used.

Root works in directories that belong to the services' users, by names relative to such a descriptor.
"""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def open_directory(path: Path | str, within: int | None = None) -> int:
    """Descriptor of a directory. Raises OSError, also for a link in its place."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)


@contextlib.contextmanager
def directory(path: Path | str, within: int | None = None) -> Iterator[int]:
    """The same, closed at the end."""
    descriptor = open_directory(path, within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_directory(name: str, within: int) -> None:
    """Make a directory (mode 0750, less the umask) unless something of that name is there."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o750, dir_fd=within)


def open_plain(name: str, within: int, flags: int, mode: int = 0o600) -> int:
    """Descriptor of a plain file with one name. Raises OSError, at once for a pipe, a link or a device."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(name, flags, mode, dir_fd=within)
    info = os.fstat(descriptor)
    if stat.S_ISREG(info.st_mode) and info.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    raise OSError(f"{name} is not a plain file with one name")


def remove(name: str, within: int) -> None:
    """Remove a name that is no directory, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=within)


def replaceable_by_others(path: Path) -> str:
    """The first directory above a path in which others than root and this user may replace it; "" if none."""
    trusted = (0, os.geteuid())
    absolute = path.absolute()
    resolved = absolute.parent.resolve() / absolute.name
    for parent in (*reversed(absolute.parents), *reversed(resolved.parents)):
        try:
            info = parent.lstat()
        except FileNotFoundError:
            continue
        is_open = (
            stat.S_ISDIR(info.st_mode) and info.st_mode & OTHERS_WRITE and not info.st_mode & stat.S_ISVTX
        )
        if info.st_uid not in trusted or is_open:
            return f"{parent} (mode {stat.S_IMODE(info.st_mode):04o}, uid {info.st_uid})"
    return ""
