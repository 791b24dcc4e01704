# SPDX-License-Identifier: Apache-2.0
"""A cluster on paper: pods, what is seen of them in cgroups, and a source that reports what it is told to."""

from collections.abc import Mapping
from typing import Any

from services.metadata.cgroup_path import CgroupIdentity
from services.metadata.cluster.pod import Pod, PodContainer
from services.metadata.cluster.pod_names import PodNames
from services.metadata.name_tables import NameTables
from wattline.wire.frames import Metadata, MetadataContainers, SourceState
from wattline.wire.identities import Pods

from .pod_objects import UID, ident

S = 10**9
GRACE_NS = 10 * S


def pod(uid: str = UID, *containers: PodContainer, **more: Any) -> Pod:
    """A pod of a Deployment."""
    fields = {"name": "web-1", "namespace": "shop", "owner_kind": "Deployment", "owner_name": "web"} | more
    return Pod(uid=uid, api_uid=fields.pop("api_uid", uid), containers=containers, **fields)


def app(*numbers: int, name: str = "app", **more: Any) -> PodContainer:
    """A container with these ids."""
    return PodContainer(name, container_ids=tuple(map(ident, numbers)), **more)


def by_uid(*pods: Pod) -> dict[str, Pod]:
    """As a source has them."""
    return {one.uid: one for one in pods}


def seen(uid: str, *numbers: int, runtime: str = "containerd") -> dict[str, CgroupIdentity]:
    """Containers in cgroups of a pod, or of none if `uid` is empty."""
    return {ident(number): CgroupIdentity(ident(number), runtime, uid) for number in numbers}


class FakeSource:
    """A PodSource; a test says what it reports. It counts how often it is asked."""

    def __init__(self, *pods: Pod, has_told: bool = True, up: bool = True) -> None:
        self.reported: Mapping[str, Pod] = by_uid(*pods)
        self.told = has_told
        self.up = up
        self.asked = 0
        self.is_closed = False

    def pods(self) -> Mapping[str, Pod]:
        self.asked += 1
        return self.reported

    def has_told(self) -> bool:
        return self.told

    def state(self) -> SourceState:
        return SourceState(name="kubernetes", up=self.up, reason="" if self.up else "away")

    def close(self) -> None:
        self.is_closed = True


class Join:
    """Names and tables together, as metadata has them."""

    def __init__(self, *pods: Pod, of_engine: Any = None, grace_ns: int = GRACE_NS) -> None:
        self.names = PodNames()
        self.tables = NameTables(grace_ns, self.names, of_engine)
        self.report(0, *pods)

    def report(self, now_ns: int, *pods: Pod) -> list[str]:
        """What the cluster has now."""
        return self.names.take(by_uid(*pods), now_ns, has_told=True)

    def containers(
        self, now_ns: int, found: Mapping[str, CgroupIdentity], pausing: tuple[int, ...] = ()
    ) -> dict[str, tuple[str, str, bool]]:
        """(name, kind, whether it is awaited) by id."""
        return containers_of(self.tables.containers(found, {*map(ident, pausing)}, now_ns))

    def pods(self, now_ns: int, *uids: str) -> dict[str, tuple[str, bool]]:
        """(name, whether it is awaited) by uid."""
        return pods_of(self.tables.pods({*uids}, now_ns)[0])


def containers_of(table: MetadataContainers) -> dict[str, tuple[str, str, bool]]:
    """(name, kind, whether it is awaited) by id."""
    return {
        one: (
            table.container_name[row],
            table.kind[row] if table.kind else "",
            bool(table.is_awaited and table.is_awaited[row]),
        )
        for row, one in enumerate(table.container_id)
    }


def pods_of(table: Pods) -> dict[str, tuple[str, bool]]:
    """(name, whether it is awaited) by uid."""
    return {
        one: (table.pod_name[row], bool(table.is_awaited and table.is_awaited[row]))
        for row, one in enumerate(table.pod_uid)
    }


def requests_of(frame: Metadata) -> dict[str, int] | None:
    """CPU requests by path; None where they are unknown."""
    table = frame.cgroups
    return dict(zip(table.path, table.cpu_request_m, strict=True)) if table.cpu_request_m else None
