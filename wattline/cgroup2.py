# SPDX-License-Identifier: Apache-2.0
"""The cgroup2 hierarchy: where it is mounted, and which cgroup is where."""

import os
from collections.abc import Iterator
from pathlib import Path

ROOT_ID = 1  # of the hierarchy's root; cgroup_init_early and kernfs number it first, on every kernel


def find_mount(procfs: Path) -> Path | None:
    """Where the cgroup2 hierarchy is mounted (on hybrid hosts it isn't /sys/fs/cgroup itself)."""
    for line in (procfs / "self" / "mounts").read_text(encoding="utf-8", errors="replace").splitlines():
        words = line.split()
        if words[2] == "cgroup2":
            return Path(words[1])
    return None


def walk(mount: Path) -> Iterator[tuple[int, str]]:
    """(cgroup id, path below the mount) of every cgroup.

    The id is the inode number of the directory (fs/kernfs, Linux 5.5 and newer on 64-bit), which scandir
    gives without a stat. Directories that go away meanwhile are passed over.
    """
    yield mount.stat().st_ino, "/"
    pending = [""]
    while pending:
        parent = pending.pop()
        try:
            with os.scandir(f"{mount}{parent}") as entries:
                children = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            continue
        for child in children:
            path = f"{parent}/{child.name}"
            yield child.inode(), path
            pending.append(path)
