# SPDX-License-Identifier: Apache-2.0
"""Processes that this one started, and orphans of theirs, which the kernel hands to it."""

import contextlib
import ctypes
import os
import subprocess
import weakref
from dataclasses import dataclass
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # include/uapi/linux/prctl.h
_PPID, _STATE = 1, 0  # fields of /proc/PID/stat after the name; man 5 proc

# By process id, since record(). The object is gone, or there never was one after a fork.
_started: dict[int, "weakref.ref[subprocess.Popen] | None"] = {}


@dataclass(frozen=True)
class Child:
    """One child process. `is_zombie`: it has ended and was not waited for."""

    command: str
    is_zombie: bool


def become_subreaper() -> None:
    """Let orphaned descendants of this process become its children instead of init's.

    Kept across execve, not handed down by fork: man 2 PR_SET_CHILD_SUBREAPER.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def record() -> None:
    """Remember every process that is started from now on, through subprocess or os.fork."""
    begin, fork = subprocess.Popen.__init__, os.fork

    def begin_and_record(self, *arguments, **options):
        begin(self, *arguments, **options)
        _started[self.pid] = weakref.ref(self)

    def fork_and_record():
        pid = fork()
        if pid:
            _started[pid] = None
        return pid

    subprocess.Popen.__init__ = begin_and_record
    os.fork = fork_and_record


def forget_ended() -> None:
    """Drop process ids that are free again: the next process with one of them may be a stranger."""
    for pid in [pid for pid in _started if _stat(pid) is None]:
        del _started[pid]


def is_started(pid: int) -> bool:
    """Whether a process id is that of a process started here, not of a stranger that has it now."""
    return pid in _started and (_stat(pid) is None or is_descendant(pid))


def popen_of(pid: int) -> "subprocess.Popen | None":
    """The object that a process was started by, if it is still in use."""
    reference = _started.get(pid)
    return reference() if reference else None


def is_descendant(pid: int) -> bool:
    """Whether a living process comes from this one."""
    while pid > 1:
        stat = _stat(pid)
        if stat is None:
            return False
        pid = int(stat[1][_PPID])
        if pid == os.getpid():
            return True
    return False


def children() -> dict[int, Child]:
    """Children by process id. Orphans that have ended are waited for, and left out."""
    found = {}
    for path in Path("/proc").iterdir():
        stat = _stat(int(path.name)) if path.name.isdecimal() else None
        if stat is None or int(stat[1][_PPID]) != os.getpid():
            continue
        pid, child = int(path.name), Child(stat[0], stat[1][_STATE] == "Z")
        if child.is_zombie and pid not in _started:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        else:
            found[pid] = child
    return found


def _stat(pid: int) -> tuple[str, list[str]] | None:
    """(name, fields after it) of a process; None without one."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head, _, rest = text.rpartition(")")
    return head.partition("(")[2], rest.split()
