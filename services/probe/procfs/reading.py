# SPDX-License-Identifier: Apache-2.0
"""What one look at /proc and the cgroup tree gave, and how the files there read. Pure."""

from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.decimal import decimal

_NS_PER_S = 1_000_000_000
_NS_PER_US = 1_000
# Places of fields in a CPU's line of /proc/stat after its name; man 5 proc.
_IDLE, _IOWAIT = 3, 4


class Place(NamedTuple):
    """Where a cgroup is; `path` below the mount, from b"/"."""

    cgroup_id: int
    parent_id: int
    path: bytes


@dataclass
class Reading:
    """Everything as the kernel said it, cumulative since boot or birth.

    `idle_ns` by CPU, of those that are online, at `stamp_mono_ns`. `places`: every cgroup below the root,
    parents before children; `usage_ns` by cgroup id: CPU time with that of its descendants, of those that
    have such an account. `members`: cgroup id by pid, as far as known. `stats`: /proc/PID/stat by pid.
    """

    stamp_mono_ns: int
    idle_ns: dict[int, int]
    places: list[Place] = field(default_factory=list)
    usage_ns: dict[int, int] = field(default_factory=dict)
    members: dict[int, int] = field(default_factory=dict)
    stats: dict[int, bytes] = field(default_factory=dict)


def parse_idle_ns(stat: bytes, ticks_per_s: int) -> dict[int, int]:
    """Idle time by CPU, waiting for disks included, from /proc/stat; an offline CPU is not in it.

    Raises ValueError if there is no CPU at all: that must not look as if all had been unplugged.
    """
    idle_ns = {}
    for line in stat.splitlines():
        name, *ticks = line.split()
        if not name.startswith(b"cpu"):
            break  # CPUs come first
        if name != b"cpu":
            idle_ticks = sum(map(decimal, ticks[_IDLE : _IOWAIT + 1]))
            idle_ns[decimal(name[3:])] = idle_ticks * _NS_PER_S // ticks_per_s
    if not idle_ns:
        raise ValueError(f"/proc/stat: expected lines cpu0, cpu1, ..., got {stat[:80]!r}")
    return idle_ns


def parse_usage_ns(cpu_stat: bytes) -> int | None:
    """CPU time of a cgroup and all below it, from its cpu.stat; None if this kernel doesn't say.

    Raises ValueError if what it says is no number.
    """
    for line in cpu_stat.splitlines():
        key, _space, value = line.partition(b" ")
        if key == b"usage_usec":
            return decimal(value) * _NS_PER_US
    return None


def parse_members(lists: dict[int, bytes]) -> dict[int, int]:
    """From each cgroup's cgroup.procs: cgroup id by pid. Processes outside our pid namespace read as 0.

    Raises ValueError if a word is no number.
    """
    return {pid: cgroup_id for cgroup_id, pids in lists.items() for pid in map(decimal, pids.split())}


def parse_cgroup_path(content: bytes) -> bytes:
    """Path of a process in the cgroup2 hierarchy, from /proc/PID/cgroup; b"/" if it doesn't say."""
    for line in content.splitlines():
        if line.startswith(b"0::"):
            return line[3:]
    return b"/"


def nearest(path: bytes, ids: dict[bytes, int]) -> int:
    """Id of a cgroup, or of its nearest ancestor among `ids`, in which b"/" must be.

    A removed one reads as "/a/b (deleted)", one outside our namespace as "/../b": those give an ancestor.
    """
    while path not in ids:
        path = path.rpartition(b"/")[0] or b"/"
    return ids[path]
