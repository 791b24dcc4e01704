# SPDX-License-Identifier: Apache-2.0
"""Who a cgroup is, told from its path alone. Pure; the table is the knowledge.

Paths are as the kernel shows them below the cgroup2 mount, beginning with "/".
"""

import re
from dataclasses import dataclass, replace
from typing import NamedTuple

from .vm_path import vm_id

# A component that names a container: (runtime, pattern, what the parent component must be, "" for anything).
# Source: the runtimes' documentation of cgroup drivers; the systemd driver writes NAME-ID.scope, the
# cgroupfs driver plain directories. conmon's own scopes (crio-conmon-, libpod-conmon-) are host processes
# and match nothing here.
_ID = r"(?P<id>[0-9a-f]{64})"
_CONTAINERS: tuple[tuple[str, re.Pattern[str], re.Pattern[str] | None], ...] = (
    ("docker", re.compile(rf"docker-{_ID}\.scope"), None),
    ("docker", re.compile(_ID), re.compile(r"docker")),
    ("containerd", re.compile(rf"cri-containerd-{_ID}\.scope"), None),
    ("containerd", re.compile(_ID), re.compile(r"cri-containerd")),
    ("containerd", re.compile(rf"nerdctl-{_ID}\.scope"), None),
    ("crio", re.compile(rf"crio-{_ID}(?:\.scope)?"), None),
    ("podman", re.compile(rf"libpod-{_ID}(?:\.scope)?"), None),
    ("podman", re.compile(rf"libpod-payload-{_ID}"), None),
    ("kubernetes", re.compile(_ID), re.compile(r"pod[0-9a-f][0-9a-f-]{31,35}")),
)
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

    `runtime` is kubernetes if the path shows only kubelet's hand. A virtual machine in a container has both.
    """

    container_id: str = ""
    runtime: str = ""
    pod_uid: str = ""
    vm_id: str = ""


def identify(path: str) -> CgroupIdentity:
    """The deepest container on the path, the pod above it, and the virtual machine.

    Deepest, because a container may hold a container runtime (kind); everything below a container's own
    cgroup belongs to it.
    """
    parts = _SEPARATOR.split(path)
    depth, container_id, runtime = _deepest_container(parts)
    return CgroupIdentity(container_id, runtime, _pod_uid(parts[:depth]), vm_id(path))


def identify_owned(path: str, delegation: Delegation | None) -> CgroupIdentity:
    """The same, with the owner in each name that another user than root may have made up: `ID@UID`.

    So no cgroup of a user joins the container, pod or virtual machine of another.
    """
    identity = identify(path)
    if delegation is None:
        return identity
    above = identify(delegation.path)

    def owned(name: str, by_root: str) -> str:
        return name if name in ("", by_root) else f"{name}@{delegation.uid}"

    return replace(
        identity,
        container_id=owned(identity.container_id, above.container_id),
        pod_uid=owned(identity.pod_uid, above.pod_uid),
        vm_id=owned(identity.vm_id, above.vm_id),
    )


def apart(identity: CgroupIdentity) -> CgroupIdentity:
    """The identity of a second cgroup of root's that claims the id of a container which is elsewhere."""
    return replace(identity, container_id=f"{identity.container_id}@{_ROOT_UID}")


def user_delegation(path: str) -> Delegation | None:
    """What the path itself tells: the cgroup of a user's systemd manager."""
    found = _USER_MANAGER.search(path)
    return None if found is None else Delegation(path[: found.end()], int(found["uid"]))


class Claim(NamedTuple):
    """The cgroup of a container itself, and whether it lies in another container."""

    is_nested: bool
    path: str


def claim(path: str) -> Claim | None:
    """The cgroup that makes a path a container's; None if none does."""
    parts = _SEPARATOR.split(path)
    depth, container_id, _runtime = _deepest_container(parts)
    if not container_id:
        return None
    end = path.find("/", sum(map(len, parts[:depth])) + depth)
    _depth, outer_id, _runtime = _deepest_container(parts[:depth])
    return Claim(bool(outer_id), path if end < 0 else path[:end])


def _deepest_container(parts: list[str]) -> tuple[int, str, str]:
    """(number of the part, container id, runtime); the id is empty if there is none."""
    for depth in range(len(parts) - 1, -1, -1):
        parent = parts[depth - 1] if depth else ""
        for runtime, pattern, parent_pattern in _CONTAINERS:
            match = pattern.fullmatch(parts[depth])
            if match and (parent_pattern is None or parent_pattern.fullmatch(parent)):
                return depth, match["id"], runtime
    return len(parts), "", ""


def _pod_uid(parts: list[str]) -> str:
    for part in reversed(parts):
        match = _POD.fullmatch(part)
        if match:
            return match["uid"].replace("_", "-")
    return ""
