# SPDX-License-Identifier: Apache-2.0
"""Reads /proc and the cgroup tree. All of the procfs backend's reading is here, and no arithmetic."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from wattline.cgroup2 import ROOT_ID
from wattline.descriptors import files_max

from .reading import Place, nearest, parse_cgroup_path, parse_idle_ns, parse_usage_ns

Key = TypeVar("Key")

# The process or cgroup left between two calls, is not ours to see (hidepid), or is a threaded cgroup, which
# has no processes of its own.
_GONE = frozenset(
    {errno.ENOENT, errno.ESRCH, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP, errno.EACCES, errno.EPERM}
)
_STAT_BYTES_MAX = 1024  # 52 numbers and a name; what is used comes in the first half
_CHUNK_BYTES = 65536
# A descriptor kept holds the kernel's 4 KB read buffer (measured; fs/seq_file.c), so this many hold 32 MB.
_KEPT_MAX = 8192
_LEAF_LINKS = 2  # st_nlink of a directory without subdirectories; kernfs_refresh_inode in fs/kernfs/inode.c


def read_start(descriptor: int) -> bytes:
    """The first KB of a file."""
    return os.pread(descriptor, _STAT_BYTES_MAX, 0)


def read_whole(descriptor: int) -> bytes:
    """All of a file, from its beginning; the kernel hands out a page at a time."""
    content = chunk = os.pread(descriptor, _CHUNK_BYTES, 0)
    while chunk:
        chunk = os.pread(descriptor, _CHUNK_BYTES, len(content))
        content += chunk
    return content


class KeptFiles:
    """Files that are read again and again through descriptors kept open, up to `most` of them.

    A kept descriptor of a process or cgroup that is gone fails, whoever has its name now.
    """

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self._read = read
        self._most = most
        self._kept: dict[object, int] = {}

    def read(self, paths: Mapping[Key, str]) -> dict[Key, bytes]:
        """Content by key, without those that are gone. A key whose path is not named any more is closed."""
        for key in self._kept.keys() - paths.keys():
            os.close(self._kept.pop(key))
        contents: dict[Key, bytes] = {}
        kept, read = self._kept, self._read
        for key, path in paths.items():
            try:
                contents[key] = read(kept[key]) if key in kept else self._open_and_read(key, path)
            except OSError as error:
                content = self._read_anew(key, path, error)
                if content is not None:
                    contents[key] = content
        return contents

    def close(self) -> None:
        """Close all; reading again opens again."""
        while self._kept:
            os.close(self._kept.popitem()[1])

    def _open_and_read(self, key: object, path: str) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = self._read(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        if len(self._kept) < self._most:
            self._kept[key] = descriptor
        else:
            os.close(descriptor)
        return content

    def _read_anew(self, key: object, path: str, error: OSError) -> bytes | None:
        """After a failure: if a kept descriptor was at fault, its successor in name may be readable."""
        if error.errno not in _GONE:
            raise error
        descriptor = self._kept.pop(key, None)
        if descriptor is None:
            return None
        os.close(descriptor)
        try:
            return self._open_and_read(key, path)
        except OSError as again:
            if again.errno not in _GONE:
                raise
            return None


class ProcfsFiles:
    """One machine's /proc, and its cgroup2 tree if there is one."""

    def __init__(self, procfs: Path, cgroup_mount: Path | None) -> None:
        self._procfs = os.fspath(procfs)
        self._mount = None if cgroup_mount is None else os.fspath(cgroup_mount)
        self.root_id = ROOT_ID if cgroup_mount is None else cgroup_mount.stat().st_ino
        self.ticks_per_s = os.sysconf("SC_CLK_TCK")
        spare = files_max()
        self._stat = KeptFiles(read_start, min(_KEPT_MAX, spare * 3 // 4))
        self._procs = KeptFiles(read_whole, min(_KEPT_MAX // 4, spare // 8))
        self._cpu_stat = KeptFiles(read_whole, min(_KEPT_MAX // 4, spare // 8))

    def close(self) -> None:
        """Close every descriptor."""
        for files in (self._stat, self._procs, self._cpu_stat):
            files.close()

    def idle_ns(self) -> dict[int, int]:
        """Idle time since boot by CPU."""
        descriptor = os.open(f"{self._procfs}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return parse_idle_ns(read_whole(descriptor), self.ticks_per_s)
        finally:
            os.close(descriptor)

    def places(self) -> list[Place]:
        """Every cgroup below the root, parents before children."""
        found: list[Place] = []
        pending = [] if self._mount is None else [Place(self.root_id, 0, b"")]
        while pending:
            parent = pending.pop()
            children = [
                Place(cgroup_id, parent.cgroup_id, parent.path + b"/" + name)
                for name, cgroup_id in self._children(self._directory(parent.path))
            ]
            found += children
            pending += children
        return found

    def process_lists(self, places: list[Place]) -> dict[int, bytes]:
        """Content of cgroup.procs by cgroup id, the root's included: every process but zombies.

        A threaded cgroup has none: its processes are those of the ancestor it is a part of.
        """
        if self._mount is None:
            return {}
        every = [Place(self.root_id, 0, b""), *places]
        return self._procs.read(
            {place.cgroup_id: f"{self._directory(place.path)}/cgroup.procs" for place in every}
        )

    def usage_ns(self, places: list[Place]) -> dict[int, int]:
        """CPU time by cgroup id, that of its descendants included."""
        paths = {place.cgroup_id: f"{self._directory(place.path)}/cpu.stat" for place in places}
        read = {cgroup_id: parse_usage_ns(text) for cgroup_id, text in self._cpu_stat.read(paths).items()}
        return {cgroup_id: usage_ns for cgroup_id, usage_ns in read.items() if usage_ns is not None}

    def stats(self) -> dict[int, bytes]:
        """Content of /proc/PID/stat by pid."""
        below = self._procfs
        names = [name for name in os.listdir(below) if name.isdecimal()]  # noqa: PTH208 names are enough
        return self._stat.read({int(name): f"{below}/{name}/stat" for name in names})

    def strays(self, pids: list[int], places: list[Place]) -> dict[int, int]:
        """Asks each process which cgroup it is in; id by pid. Costs 9 µs each, the lists half a µs."""
        if self._mount is None or not pids:
            return {}
        ids = {b"/": self.root_id} | {place.path: place.cgroup_id for place in places}
        files = KeptFiles(read_whole, 0)
        contents = files.read({pid: f"{self._procfs}/{pid}/cgroup" for pid in pids})
        return {pid: nearest(parse_cgroup_path(content), ids) for pid, content in contents.items()}

    def _directory(self, path: bytes) -> str:
        assert self._mount is not None
        return self._mount + os.fsdecode(path)

    def _children(self, directory: str) -> list[tuple[bytes, int]]:
        """(name, cgroup id) of each child cgroup; none if the directory is gone."""
        try:
            if os.stat(directory).st_nlink == _LEAF_LINKS:  # noqa: PTH116 names are enough, and there are thousands
                return []
            with os.scandir(directory) as entries:
                return [
                    (os.fsencode(entry.name), entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return []
