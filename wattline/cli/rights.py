# SPDX-License-Identifier: Apache-2.0
"""A user's rights to read the services' directories, and the cure where they are missing."""

import grp
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_GROUP_READS = stat.S_IRGRP | stat.S_IXGRP


class Rights(NamedTuple):
    """Services by whether this user may read their directory. `groups`: members may read the closed ones."""

    readable: tuple[str, ...]
    closed: tuple[str, ...]
    groups: tuple[int, ...]

    def complaint(self, run: Path, cure: str) -> str:
        """Name what is closed, the groups that may read it, and the cure. Pure but for the groups' names."""
        names = self.closed[0] if len(self.closed) == 1 else f"{{{','.join(self.closed)}}}"
        groups = " and ".join(map(_group_text, self.groups))
        membership = f", or be a member of {groups}" if groups else ""
        return f"uid {os.geteuid()} may not read {run}/{names}: run `{cure}`{membership}"


def rights_to(run: Path, services: Sequence[str]) -> Rights:
    """The directories that this user may read. Services that have none yet are left out."""
    readable, closed, groups = [], [], set()
    for service in services:
        path = run / service
        try:
            info = path.lstat()
        except PermissionError:
            closed.append(service)
            continue
        except (FileNotFoundError, NotADirectoryError):
            continue
        if os.access(path, os.R_OK | os.X_OK, effective_ids=True):
            readable.append(service)
        else:
            closed.append(service)
            if info.st_gid and info.st_mode & _GROUP_READS == _GROUP_READS:
                groups.add(info.st_gid)
    return Rights(tuple(readable), tuple(closed), tuple(sorted(groups)))


def _group_text(number: int) -> str:
    try:
        return f"group {grp.getgrgid(number).gr_name}"
    except KeyError:
        return f"group {number}"
