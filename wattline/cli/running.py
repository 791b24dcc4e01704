# SPDX-License-Identifier: Apache-2.0
"""Run directories in which Wattline runs now, as the kernel reports it.

/proc/locks has process, device and inode of each flock; /proc/PID/fd has the path. A path counts only if it
leads to the same inode from here, because the holder may live in another mount namespace. Any user can hold a
lock of any name, so a run directory counts only if:

- it and all directories above it belong to root or the caller, and no stranger can replace what is in them;
- a lock in it belongs to root or the caller and is held by a process of the lock's owner;
- around that lock the directory has the layout that Wattline makes.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wattline.errors import Fatal, Retry
from wattline.mounts import mount_details
from wattline.opened import OTHERS_WRITE
from wattline.pipeline import SERVICES, is_extra_stream
from wattline.wire.rundir import DIRECTORY_MODE, ServiceDirectory, extra_streams

PROC = Path("/proc")
UP = "up"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 looked at only
_LOCK = "lock"
# "1: FLOCK ADVISORY WRITE pid major:minor:inode start end"; a waiting request has an arrow before its kind.
_FLOCK = re.compile(
    r"\S+\s+FLOCK\s+\S+\s+WRITE\s+(\d{1,20})\s+([0-9a-f]{1,16}):([0-9a-f]{1,16}):(\d{1,20})\s", re.ASCII
)


class FileId(NamedTuple):
    """A file as /proc/locks names it."""

    major: int
    minor: int
    inode: int

    @classmethod
    def of(cls, info: os.stat_result) -> "FileId":
        """A file's identity from stat(2)."""
        return cls(os.major(info.st_dev), os.minor(info.st_dev), info.st_ino)


Locks = dict[FileId, int]  # process id of the holder


class Holder(NamedTuple):
    """A process that runs: `up` or a service."""

    name: str
    pid: int


class Instance(NamedTuple):
    """A run directory and the processes that run in it, `up` first."""

    run: Path
    holders: tuple[Holder, ...]


class Found(NamedTuple):
    """All instances, by path. `is_partial`: some processes could not be looked at for lack of rights."""

    instances: tuple[Instance, ...]
    is_partial: bool


def held_locks(text: str) -> Locks:
    """Holder of each exclusive flock in the text of /proc/locks; waiting requests are left out. Pure.

    Source: man 5 proc_locks.
    """
    locks: Locks = {}
    for line in text.splitlines():
        match = _FLOCK.match(line)
        if match is not None:
            pid, major, minor, inode = match.groups()
            locks[FileId(int(major, 16), int(minor, 16), int(inode))] = int(pid)
    return locks


def find() -> Found:
    """Look at all processes that hold a lock."""
    locks = _locks()
    runs: set[Path] = set()
    is_partial = False
    for pid in sorted(set(locks.values())):
        held = {file for file, holder in locks.items() if holder == pid}
        try:
            runs.update(run for path in _locked_paths(pid, held) if (run := _run_of(path)) is not None)
        except PermissionError:
            is_partial = True
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
    if is_partial:
        # The lock of another user's `up` can be recognised by looking where run directories usually are.
        runs.update(path.parent for path in _SHARED_MEMORY.glob(f"*/{_LOCK}"))
    instances = [instance for run in sorted(runs) if (instance := _instance(run, locks)) is not None]
    return Found(tuple(instances), is_partial)


def instance_in(run: Path) -> Instance | None:
    """The instance in a directory that a person named. Checks only the owners of it and of its locks."""
    try:
        info = run.lstat()
        is_own = stat.S_ISDIR(info.st_mode) and info.st_uid in (0, os.geteuid())
        holders = tuple(_holders(run, _locks())) if is_own else ()
    except OSError:  # missing or closed to us
        return None
    return Instance(run, holders) if holders else None


def pin_directory_of(pid: int) -> Path | None:
    """The directory of pins that a probe holds; None if it holds none that can be reached from here."""
    locks = _locks()
    held = {file for file, holder in locks.items() if holder == pid}
    try:
        paths = list(_locked_paths(pid, held))
    except (FileNotFoundError, ProcessLookupError):
        return None
    bpf = {mount.device for mount in mount_details(PROC) if mount.kind == "bpf"}
    for path in paths:
        info = path.lstat()
        is_private = info.st_uid == os.geteuid() and not info.st_mode & OTHERS_WRITE
        if stat.S_ISDIR(info.st_mode) and is_private and FileId.of(info)[:2] in bpf:
            return path
    return None


def _locks() -> Locks:
    return held_locks((PROC / "locks").read_text(encoding="ascii"))


def _locked_paths(pid: int, held: set[FileId]) -> Iterator[Path]:
    """Paths of the files that a process has open and locked, if they are the same files from here."""
    for link in (PROC / str(pid) / "fd").iterdir():
        try:
            path, opened = Path(link.readlink()), FileId.of(link.stat())
        except FileNotFoundError:
            continue  # closed meanwhile
        if opened in held and path.is_absolute() and _is_at(path, opened):
            yield path


def _is_at(path: Path, file: FileId) -> bool:
    """True if a path leads to a file from here: it may be removed, or of another mount namespace."""
    try:
        return FileId.of(path.lstat()) == file
    except OSError:
        return False


def _run_of(lock: Path) -> Path | None:
    """The run directory to which a lock belongs, by its name. Pure."""
    if lock.name != _LOCK:
        return None
    directory = lock.parent
    is_stages = directory.name in SERVICES or is_extra_stream(directory.name)
    return directory.parent if is_stages else directory


def _instance(run: Path, locks: Locks) -> Instance | None:
    try:
        if not _is_safe(run):
            return None
        holders = tuple(_holders(run, locks))
        is_wattline = any(_proves(run, holder) for holder in holders)
    except (OSError, Fatal):  # it went away meanwhile, is closed to us, or its path is too long for sockets
        return None
    return Instance(run, holders) if is_wattline else None


def _is_safe(run: Path) -> bool:
    """True if only root and the caller can replace a directory or what is in it."""
    trusted = (0, os.geteuid())
    for path in (run, *run.parents):
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid not in trusted:
            return False
        if info.st_mode & OTHERS_WRITE and not info.st_mode & stat.S_ISVTX:
            return False
    return True


def _holders(run: Path, locks: Locks) -> Iterable[Holder]:
    stages = (*SERVICES, *extra_streams(run))
    for name, lock in ((UP, run / _LOCK), *((name, run / name / _LOCK) for name in stages)):
        try:
            if not stat.S_ISDIR(lock.parent.lstat().st_mode):
                continue
            info = lock.lstat()
        except (FileNotFoundError, PermissionError):
            continue
        pid = locks.get(FileId.of(info))
        is_plain = stat.S_ISREG(info.st_mode) and info.st_nlink == 1
        if pid is not None and is_plain and user_of(pid) == info.st_uid:
            yield Holder(name, pid)


def user_of(pid: int) -> int | None:
    """User of a process; None if it has ended.

    From `status`, because /proc/PID itself belongs to root once its process has changed its user.
    """
    try:
        status = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


def _proves(run: Path, holder: Holder) -> bool:
    """True if a held lock is Wattline's, not that of another program with a lock of that name."""
    trusted = (0, os.geteuid())
    if holder.name == UP:
        # `up` makes all five as soon as it holds its lock.
        directories = [(run / name).lstat() for name in SERVICES]
        owner = (run / _LOCK).lstat().st_uid
        return owner in trusted and all(stat.S_ISDIR(info.st_mode) for info in directories)
    directory = ServiceDirectory(run, holder.name)
    info = directory.path.lstat()
    if info.st_uid not in trusted or stat.S_IMODE(info.st_mode) != DIRECTORY_MODE:
        return False
    try:
        is_trusted = directory.distrust() is None
        files = [path.lstat() for path in (directory.lock, directory.pid)]
    except (Retry, FileNotFoundError):
        return False
    return is_trusted and all(one.st_uid == info.st_uid and stat.S_ISREG(one.st_mode) for one in files)
