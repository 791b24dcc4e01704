# SPDX-License-Identifier: Apache-2.0
"""Who a cgroup is, told from its path alone. Pure; the table is the knowledge.

Paths are as the kernel shows them below the cgroup2 mount, beginning with "/".
"""

import re
from dataclasses import dataclass

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
    for depth in range(len(parts) - 1, -1, -1):
        parent = parts[depth - 1] if depth else ""
        for runtime, pattern, parent_pattern in _CONTAINERS:
            match = pattern.fullmatch(parts[depth])
            if match and (parent_pattern is None or parent_pattern.fullmatch(parent)):
                return CgroupIdentity(match["id"], runtime, _pod_uid(parts[:depth]), vm_id(path))
    return CgroupIdentity(pod_uid=_pod_uid(parts), vm_id=vm_id(path))


def _pod_uid(parts: list[str]) -> str:
    for part in reversed(parts):
        match = _POD.fullmatch(part)
        if match:
            return match["uid"].replace("_", "-")
    return ""
