# SPDX-License-Identifier: Apache-2.0
"""Which container, pod, virtual machine and unit a process is in, told from its /proc/PID/cgroup alone. Pure.

For hosts where cgroup v1 hierarchies know containers that cgroup2 doesn't (man 7 cgroups): the file has a
line HIERARCHY:CONTROLLERS:PATH for each hierarchy in use, 0::PATH being cgroup2's.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from .cgroup_path import CgroupIdentity, identify

# Runtimes put a container into all hierarchies. Should they differ, those that limit it are right.
_PREFERRED = ("cpu", "cpuacct", "memory", "pids", "name=systemd")
_CGROUP2 = "0"
_REMOVED = " (deleted)"  # what the kernel appends to the path of a removed cgroup


def uses_cgroup1(text: str) -> bool:
    """Whether a /proc/PID/cgroup shows any hierarchy besides cgroup2: each process's file shows them all."""
    return any(hierarchy != _CGROUP2 for hierarchy, _controllers, _path in _lines(text))


def container_of(text: str, identify_path: Callable[[str], CgroupIdentity] = identify) -> CgroupIdentity:
    """The container, pod and virtual machine that a /proc/PID/cgroup tells, else the unit; empty if none.

    Container and machine each by itself: a hierarchy may know one of them only. `identify_path` tells what
    one path shows.
    """
    paths = [path for _hierarchy, _controllers, path in sorted(_lines(text), key=_rank)]
    found = [identify_path(path) for path in paths]
    machine = next((one.vm_id for one in found if one.vm_id), "")
    container = next((one for one in found if one.container_id), None)
    if container is not None:
        return replace(container, vm_id=machine)
    pod_uid = next((one.pod_uid for one in found if one.pod_uid), "")
    # Only some hierarchies have a unit's own cgroup; others leave its processes in a slice.
    unit = "" if machine or pod_uid else next((one.unit for one in found if one.unit), "")
    return CgroupIdentity(pod_uid=pod_uid, vm_id=machine, unit=unit)


def cgroup2_tells(text: str, identify_path: Callable[[str], CgroupIdentity] = identify) -> bool:
    """Whether cgroup2's own line in it tells a container: then activity has a cgroup of it, or soon will."""
    return any(
        identify_path(path).container_id for hierarchy, _, path in _lines(text) if hierarchy == _CGROUP2
    )


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.split("\n"):  # no other character ends a line, and names may hold any other
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if path.startswith("/"):
            yield hierarchy, controllers, path.removesuffix(_REMOVED)


def _rank(line: tuple[str, str, str]) -> int:
    hierarchy, controllers, _path = line
    if hierarchy == _CGROUP2:
        return len(_PREFERRED) + 1
    ranks = [_PREFERRED.index(name) for name in controllers.split(",") if name in _PREFERRED]
    return min(ranks, default=len(_PREFERRED))
