# SPDX-License-Identifier: Apache-2.0
"""The identity of a cgroup, told from its path and the table in places.py alone. Pure.

Paths are as the kernel shows them below the cgroup2 mount, beginning with "/".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .places import BUILT_IN, Found, Places
from .unit_path import is_only_slices, unit_of

# "…-pod0123_4567.slice" (systemd driver, "_" for "-") or "pod0123-4567" (cgroupfs driver). Static pods
# have a uid of 32 hex digits without dashes.
_POD = re.compile(r"(?:.*-)?pod(?P<uid>[0-9a-f]{8}[0-9a-f_-]{24,28})(?:\.slice)?")

# A runtime told to use systemd on a host that has none writes "SLICE:PREFIX:ID" as one directory.
_SEPARATOR = re.compile(r"[/:]")


# Where systemd lets a user make cgroups of any name.
_USER_MANAGER = re.compile(r"/user@(?P<uid>[0-9]{1,10})\.service(?=/|$)")
_ROOT_UID = 0


class Delegation(NamedTuple):
    """The topmost cgroup on a path below which another user than root makes the names."""

    path: str
    uid: int


@dataclass(frozen=True)
class CgroupIdentity:
    """What a path tells; empty where it tells nothing.

    `runtime` is kubernetes if the path shows only kubelet's hand, oci if it shows only an id. A virtual
    machine in a container has both ids. `unit` is that of host processes: of what is in no container, machine
    or pod. `container_name` is the name in the path, where the id is not all there is.
    """

    container_id: str = ""
    runtime: str = ""
    pod_uid: str = ""
    vm_id: str = ""
    unit: str = ""
    container_name: str = ""


def identify(path: str, places: Places = BUILT_IN) -> CgroupIdentity:
    """The container on the path, the pod above it, and the virtual machine; else the unit.

    Of several containers:
    - a system (LXC, systemd-nspawn) owns everything below it, except containers of pods of a kubelet in it;
    - otherwise the deepest with an OCI id, because a container may hold a container runtime (kind);
    - otherwise the topmost.
    Everything below a container's own cgroup belongs to it.
    """
    machine, above = _machine(path, places)
    parts = _SEPARATOR.split(above)
    depth, found = _container(parts, places)
    pod_uid = _pod_uid(parts[:depth])
    if found is not None:
        return CgroupIdentity(found.id, found.runtime, pod_uid, machine, container_name=found.name)
    unit = "" if machine or pod_uid else unit_of(path)
    return CgroupIdentity(pod_uid=pod_uid, vm_id=machine, unit=unit)


def identify_owned(path: str, delegation: Delegation | None, places: Places = BUILT_IN) -> CgroupIdentity:
    """The same, with the owner in each name that another user than root may have made up: `ID@UID`.

    So no cgroup of a user joins the container, pod, virtual machine or unit of another.
    """
    identity = identify(path, places)
    if delegation is None:
        return identity
    above = identify(delegation.path, places)

    def owned(name: str, by_root: str) -> str:
        return name if name in ("", by_root) else f"{name}@{delegation.uid}"

    return replace(
        identity,
        container_id=owned(identity.container_id, above.container_id),
        pod_uid=owned(identity.pod_uid, above.pod_uid),
        vm_id=owned(identity.vm_id, above.vm_id),
        unit=owned(identity.unit, above.unit),
    )


def is_unmatched(path: str, identity: CgroupIdentity) -> bool:
    """True if a known path tells nothing, and is not only the root or slices of systemd."""
    return identity == _NOTHING and not is_only_slices(path)


def apart(identity: CgroupIdentity) -> CgroupIdentity:
    """The identity of a second cgroup of root's that claims the id of a container which is elsewhere."""
    return replace(identity, container_id=f"{identity.container_id}@{_ROOT_UID}")


def pod_apart(identity: CgroupIdentity) -> CgroupIdentity:
    """The identity of a cgroup of root's in a container that claims a pod beside that."""
    return replace(identity, pod_uid=f"{identity.pod_uid}@{_ROOT_UID}")


def user_delegation(path: str) -> Delegation | None:
    """What the path itself tells: the cgroup of a user's systemd manager."""
    found = _USER_MANAGER.search(path)
    return None if found is None else Delegation(path[: found.end()], int(found["uid"]))


class Claim(NamedTuple):
    """The cgroup of a container itself, and whether it lies in another container."""

    is_nested: bool
    path: str


def claim(path: str, places: Places = BUILT_IN) -> Claim | None:
    """The cgroup that makes a path a container's; None if none does."""
    _machine_id, above = _machine(path, places)
    parts = _SEPARATOR.split(above)
    depth, found = _container(parts, places)
    if found is None:
        return None
    end = path.find("/", sum(map(len, parts[:depth])) + depth)
    _depth, outer = _container(parts[:depth], places)
    return Claim(outer is not None, path if end < 0 else path[:end])


def names_pod_in_container(path: str, places: Places = BUILT_IN) -> bool:
    """Whether the path names its pod within a container: a kubelet in it does (kind), and its root may."""
    _machine_id, above = _machine(path, places)
    parts = _SEPARATOR.split(above)
    depth, _own = _container(parts, places)
    outer_depth, outer = _container(parts[:depth], places)
    return outer is not None and _pod_uid(parts[:depth]) != _pod_uid(parts[:outer_depth])


def _machine(path: str, places: Places) -> tuple[str, str]:
    """(id of the virtual machine, the path above its cgroup); without a machine, empty and the whole path.

    The outermost: its host made it, and whatever it makes below it is still its own.
    """
    if "qemu" not in path and "firecracker" not in path:  # nearly no path has either
        return "", path
    parts = path.split("/")  # not at colons, as for containers: a guest may have some in its name
    for depth in range(len(parts)):
        found = places.machine(parts, depth)
        if found is not None:
            return found.id, "/".join(parts[:depth])
    return "", path


def _container(parts: Sequence[str], places: Places) -> tuple[int, Found | None]:
    """(number of the part that is the container's own cgroup, the container)."""
    own_depth, own = len(parts), None
    is_pod_below = False
    for depth, part in enumerate(parts):
        is_pod_below = is_pod_below or (own is not None and _POD.fullmatch(part) is not None)
        found = places.container(parts, depth)
        if found is None or (own is not None and found.id == own.id):
            continue
        if own is None or (found.has_hex and (is_pod_below or not own.is_system)):
            own_depth, own = depth, found
    return own_depth, own


def _pod_uid(parts: Sequence[str]) -> str:
    for part in reversed(parts):
        match = _POD.fullmatch(part)
        if match:
            return match["uid"].replace("_", "-")
    return ""


_NOTHING = CgroupIdentity()
