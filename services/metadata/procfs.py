# SPDX-License-Identifier: Apache-2.0
"""What /proc says of single processes: reading it, and nothing else."""

import enum
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from wattline.decimal import decimal
from wattline.mounts import mount_details

T = TypeVar("T")

_START_FIELD = 22 - 3  # of /proc/PID/stat (man 5 proc), counted from the one after the name


class Unread(enum.Enum):
    """Reason why a process has no answer."""

    GONE = enum.auto()  # it has ended, its pid is another's by now, or what is there is no process
    HIDDEN = enum.auto()  # it lives, but /proc does not show it to us (man 5 proc, hidepid)


def own_cgroups(procfs: Path) -> str:
    """This process's own /proc/PID/cgroup; empty where there is none. Raises OSError if it can't be read."""
    try:
        return _read(procfs / "self" / "cgroup")
    except (FileNotFoundError, NotADirectoryError):
        return ""


def cgroups_of(procfs: Path, pid: int, start_ticks: int) -> str | Unread:
    """/proc/PID/cgroup of a process, or why it can't be had."""
    return of_process(procfs, pid, start_ticks, lambda directory: _read(directory / "cgroup"))


def of_process(procfs: Path, pid: int, start_ticks: int, read: Callable[[Path], T]) -> T | Unread:
    """What `read` makes of a process's directory, or why that can't be had.

    The start is read afterwards, so that both are of one process. ±1 tick is the same.
    """
    try:
        found = read(procfs / str(pid))
        stat = _read(procfs / str(pid) / "stat")
        started = decimal(stat.rpartition(")")[2].split()[_START_FIELD])
    except ProcessLookupError:
        return Unread.GONE
    except PermissionError:  # hidepid=noaccess
        return Unread.HIDDEN
    except FileNotFoundError:  # hidepid=invisible says the same of a process that lives
        return Unread.HIDDEN if _is_alive(procfs, pid) else Unread.GONE
    except (ValueError, IndexError):  # no stat of a process: never take that for this one's
        return Unread.GONE
    return found if abs(started - start_ticks) <= 1 else Unread.GONE


def mount_options(procfs: Path) -> tuple[str, ...]:
    """Options of the proc file system mounted at a path; empty if it is not in the list of mounts."""
    try:
        found = [mount.options for mount in mount_details() if mount.place == procfs]
    except OSError:
        return ()
    return found[-1] if found else ()  # the last mount on a place covers those before it


def _is_alive(procfs: Path, pid: int) -> bool:
    """True if there is such a process. hidepid does not hide it from kill(2).

    False as well where /proc is of another pid namespace, in which kill(2) would ask for somebody else.
    """
    try:
        if str((procfs / "self").readlink()) != str(os.getpid()):
            return False
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):  # a frame may name a pid that no kernel has
        return False
    return True


def _read(path: Path) -> str:
    # A cgroup may have any name, so the bytes need not be UTF-8, and a name may hold a newline's look-alike.
    with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        return file.read()
