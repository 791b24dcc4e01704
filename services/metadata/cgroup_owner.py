# SPDX-License-Identifier: Apache-2.0
"""Owners of the cgroup directories on a path, who choose the names below them."""

from pathlib import Path

from .cgroup_path import Delegation

_OVERFLOW_UID = 65534  # what a user outside our user namespace looks like; user_namespaces(7)


def delegation(mount: Path, path: str) -> Delegation | None:
    """The topmost directory that belongs to another user than root.

    A removed directory ends the search: those above it, which a delegation needs, usually outlive it.
    """
    names = path.strip("/").split("/")
    for depth in range(1, len(names) + 1):
        above = "/" + "/".join(names[:depth])
        try:
            uid = Path(f"{mount}{above}").lstat().st_uid
        except (OSError, ValueError):  # a name can't have a NUL, but a frame can
            return None
        if uid not in (0, _OVERFLOW_UID):
            return Delegation(above, uid)
    return None
