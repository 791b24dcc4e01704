# SPDX-License-Identifier: Apache-2.0
"""Removal of what a test left: processes first, then what they held."""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Container, Iterable
from pathlib import Path

from wattline.mounts import mounts

from . import started
from .names import own_name
from .traces import Trace, hierarchies

_PATIENCE_S = 20.0
_POLL_S = 0.01
_ENDING_S = 2.0  # the kernel takes a hierarchy away some milliseconds after its last mount
_MNT_DETACH = 2  # include/linux/fs.h


def end_children(keep: Container[int]) -> None:
    """Kill all children but some, and their descendants, which become children when their parent ends.

    A child's id can't become a stranger's, since only this process waits for it.
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    while left := [pid for pid in started.children() if pid not in keep]:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            _wait_for(pid)
        if time.monotonic() > deadline_s:
            return
        time.sleep(_POLL_S)


def _wait_for(pid: int) -> None:
    process = started.popen_of(pid)
    if process is None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError, ValueError):
                    stream.close()


def remove(traces: Iterable[Trace]) -> None:
    """Remove all that can be removed; a socket goes with its process."""
    by_kind: dict[str, list[Path]] = {}
    for trace in sorted(traces, reverse=True):
        by_kind.setdefault(trace.kind, []).append(trace.path)
    mounted = dict(mounts())
    for path in by_kind.get("mount", []):
        if mounted.get(path) == "cgroup":
            _remove_cgroups_in(path)
        ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_DETACH)
    for path in by_kind.get("cgroup", []):
        _remove_cgroup(path)
    for path in by_kind.get("hierarchy", []):
        remove_hierarchy(path.name)
    for path in [*by_kind.get("pin", []), *by_kind.get("directory", [])]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_hierarchy(name: str) -> None:
    """Take a named cgroup v1 hierarchy, which is mounted nowhere, out of the kernel.

    It outlives its last mount if there was a cgroup in it at that moment, even one that was being put away;
    it goes with the next mount (cgroup_kill_sb in kernel/cgroup/cgroup.c, Linux 6.1).
    """
    deadline_s = time.monotonic() + _PATIENCE_S
    with tempfile.TemporaryDirectory(prefix=f"{own_name('wl')}-") as place:
        while not _goes_by_itself(name) and time.monotonic() < deadline_s:
            mount = ["mount", "-t", "cgroup", "-o", f"none,name={name}", name, place]
            if subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0:
                _remove_cgroups_in(Path(place))
                subprocess.run(["umount", place], check=True)


def _goes_by_itself(name: str) -> bool:
    """Whether a hierarchy ends in a moment: one that is mounted again too early is a new one."""
    deadline_s = time.monotonic() + _ENDING_S
    while name in hierarchies():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_POLL_S)
    return True


def _remove_cgroups_in(mount: Path) -> None:
    for path in filter(Path.is_dir, mount.iterdir()):
        _remove_cgroup(path)


def _remove_cgroup(path: Path) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    for directory, _directories, _files in os.walk(path, topdown=False):
        while Path(directory).exists() and time.monotonic() < deadline_s:
            with contextlib.suppress(OSError):
                members = (Path(directory) / "cgroup.procs").read_text(encoding="ascii")
                for pid in map(int, members.split()):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(directory)  # noqa: PTH106 as os.walk gives it
                break
            time.sleep(_POLL_S)
