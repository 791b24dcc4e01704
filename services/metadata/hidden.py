# SPDX-License-Identifier: Apache-2.0
"""Explanation of processes that /proc does not show to metadata. Pure. Source: man 5 proc, hidepid."""

from collections.abc import Iterable
from pathlib import Path

_PTRACEABLE = ("ptraceable", "4")  # shows a process to who may trace it, whatever group that is
_SHOWN = ("off", "0")


def explanation(count: int, procfs: Path, options: Iterable[str], group_id: int) -> str:
    """How many are hidden, what that costs, and the cure; `options`: those of that mount."""
    named = dict(option.partition("=")[::2] for option in options)
    level = named.get("hidepid", _SHOWN[0])
    how = f" (mounted with hidepid={level})" if level not in _SHOWN else ""
    hidden = f"{count} processes are" if count > 1 else "1 process is"
    own_mount = (
        "mount another proc file system for metadata alone (mount -t proc proc DIRECTORY) and set "
        "--path.procfs to it"
    )
    by_group = f"mount -o remount,gid={group_id} {procfs} (the group that metadata runs with)"
    cure = own_mount if level in _PTRACEABLE else f"{by_group}, or {own_mount}"
    return (
        f"{hidden} hidden from metadata by {procfs}{how}, expected to be readable: their containers are "
        f"unknown and they count as system_processes; as root: {cure}. No restart is needed for a remount"
    )
