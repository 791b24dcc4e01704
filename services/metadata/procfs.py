# SPDX-License-Identifier: Apache-2.0
"""What /proc says of single processes: reading it, and nothing else."""

from pathlib import Path

_START_FIELD = 22 - 3  # of /proc/PID/stat (man 5 proc), counted from the one after the name


def own_cgroups(procfs: Path) -> str:
    """This process's own /proc/PID/cgroup; empty where there is none."""
    try:
        return _read(procfs / "self" / "cgroup")
    except OSError:
        return ""


def cgroups_of(procfs: Path, pid: int, start_ticks: int) -> str | None:
    """/proc/PID/cgroup of a process; None if it is gone, hidden, unreadable, or its pid is another's by now.

    The start is read afterwards, so that both are of one process. ±1 tick is the same.
    """
    try:
        text = _read(procfs / str(pid) / "cgroup")
        stat = _read(procfs / str(pid) / "stat")
        started = int(stat.rpartition(")")[2].split()[_START_FIELD])
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    except (ValueError, IndexError):  # no stat of a process: never take that for this one's
        return None
    return text if abs(started - start_ticks) <= 1 else None


def _read(path: Path) -> str:
    # A cgroup may have any name, so the bytes need not be UTF-8, and a name may hold a newline's look-alike.
    with path.open(encoding="utf-8", errors="backslashreplace", newline="\n") as file:
        return file.read()
