# SPDX-License-Identifier: Apache-2.0
"""The cgroup2 hierarchy: where it is mounted, and which cgroup is where."""

import os
from collections.abc import Iterator
from pathlib import Path

from .mounts import MountWatch, mounts

LOOK_AGAIN_NS = 60 * 1_000_000_000  # for what no change of mounts reports, such as a stat that failed
ROOT_ID = 1  # of the hierarchy's root; cgroup_init_early and kernfs number it first, on every kernel


def find_mount(procfs: Path) -> Path | None:
    """Where the cgroup2 hierarchy is mounted (on hybrid hosts it isn't /sys/fs/cgroup itself).

    One that shows the whole hierarchy goes before one that a cgroup namespace has cut.
    """
    places = [place for place, kind in mounts(procfs) if kind == "cgroup2"]
    return next(filter(is_whole, places), places[0] if places else None)


def whole_mount(procfs: Path) -> Path | None:
    """A mount that shows the whole hierarchy, if there is one."""
    mount = find_mount(procfs)
    return mount if mount is not None and is_whole(mount) else None


class WatchedMount:
    """The mount of the cgroup2 hierarchy, looked for again when mounts have changed, and once a minute."""

    def __init__(self, procfs: Path, given: Path | None = None) -> None:
        """`given`: where it is to be, whatever is mounted."""
        self._procfs = procfs
        self._given = given
        self._watch = MountWatch(procfs)
        self._place: Path | None = None
        self._is_whole = False
        self._is_due = True
        self._looked_ns = 0

    def update(self, now_mono_ns: int) -> bool:
        """Look again if that is due; True if it was.

        Raises OSError if the list of mounts can't be read. The last place stays, and the next call looks
        again: the kernel reports each change only once.
        """
        has_changed = self._watch.has_changed()
        is_late = not 0 <= now_mono_ns - self._looked_ns < LOOK_AGAIN_NS
        self._is_due = self._is_due or has_changed or is_late
        if not self._is_due:
            return False
        self._place = self._given if self._given is not None else find_mount(self._procfs)
        self._is_whole = self._place is not None and is_whole(self._place)
        self._is_due, self._looked_ns = False, now_mono_ns
        return True

    @property
    def place(self) -> Path | None:
        """Where it is, as of the last update."""
        return self._place

    @property
    def whole(self) -> Path | None:
        """The same if it shows the whole hierarchy."""
        return self._place if self._is_whole else None

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()


def is_whole(mount: Path) -> bool:
    """Whether a mount shows the hierarchy from its root, rather than from our own cgroup.

    Source: cgroup_namespaces(7).
    """
    try:
        return mount.stat().st_ino == ROOT_ID
    except (OSError, ValueError):  # it is gone or hidden; or no path at all, with a NUL in it
        return False


def walk(mount: Path) -> Iterator[tuple[int, str]]:
    """(cgroup id, path below the mount) of every cgroup.

    The id is the inode number of the directory (fs/kernfs, Linux 5.5 and newer on 64-bit), which scandir
    gives without a stat. Directories that go away meanwhile, or that we may not look into, are passed over.
    """
    yield mount.stat().st_ino, "/"
    pending = [""]
    while pending:
        parent = pending.pop()
        try:
            with os.scandir(f"{mount}{parent}") as entries:
                children = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for child in children:
            path = f"{parent}/{child.name}"
            yield child.inode(), path
            pending.append(path)
