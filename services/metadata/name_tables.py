# SPDX-License-Identifier: Apache-2.0
"""Tables of names: which name each container and pod has, and which ones are awaited. Pure.

Published names never change, since they label series: the first one stays for as long as metadata knows the
container or pod. A missing name may still come; readers have fixed that it is missing once it isn't awaited.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from wattline.wire.columns import U8
from wattline.wire.frames import MetadataContainers
from wattline.wire.identities import PodLabels, Pods, no_pod_labels, no_pods
from wattline.wire.names import safe_name
from wattline.wire.table import if_any

from .cgroup_path import CgroupIdentity
from .cluster.pod import PAUSE
from .cluster.pod_names import NamedContainer, PodNames
from .container_names import ContainerNames, may_name

PAUSE_NAME = "POD"  # as cAdvisor calls a pod's own container, in which its namespaces live
_OWNED = "@"


class _Called(NamedTuple):
    name: str
    kind: str = ""


@dataclass
class Grace:
    """How long each id has been known, and so whether its name is still worth waiting for."""

    grace_ns: int
    _first_ns: dict[str, int] = field(default_factory=dict)

    def see(self, ids: Collection[str], now_ns: int) -> None:
        """Take all ids that there are; others are forgotten."""
        self._first_ns = {one: self._first_ns.get(one, now_ns) for one in ids}

    def lasts(self, one: str, now_ns: int) -> bool:
        """Whether the id has been known for less than the grace time."""
        return now_ns - self._first_ns[one] < self.grace_ns


@dataclass
class NameTables:
    """Joins what paths, an engine and a cluster say. `of_pods` and `of_engine` are None where none is asked.

    Ids with an owner (`ID@UID`) get nothing from either: another user than root has made them up.
    """

    grace_ns: int
    of_pods: PodNames | None = None
    of_engine: ContainerNames | None = None
    _called: dict[str, _Called] = field(default_factory=dict)
    _pausing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._containers, self._pods = Grace(self.grace_ns), Grace(self.grace_ns)
        self._pod_tables, self._requests = (no_pods(), no_pod_labels()), dict[str, int]()
        self._pods_made_of: tuple[int, set[str]] | None = None
        self._requests_made_of: tuple[int, Mapping[str, CgroupIdentity]] | None = None

    def containers(
        self, seen: Mapping[str, CgroupIdentity], pausing: Collection[str], now_ns: int
    ) -> MetadataContainers:
        """By id. `seen`: all containers that there are; `pausing`: those with a pause program in it."""
        self._containers.see(seen, now_ns)
        self._called = {one: called for one, called in self._called.items() if one in seen}
        self._pausing = (self._pausing | {*pausing}) & seen.keys()
        unnamed = [identity for one, identity in seen.items() if one not in self._called]
        awaited = {one.container_id for one in unnamed if self._is_awaited(one, now_ns)}
        listed = sorted(awaited | self._called.keys())
        called = [self._called.get(one, _Called("")) for one in listed]
        return MetadataContainers(
            container_id=listed,
            container_name=[one.name for one in called],
            kind=if_any([one.kind for one in called]),
            is_awaited=U8(one in awaited for one in listed) if awaited else U8(),
        )

    def _is_awaited(self, identity: CgroupIdentity, now_ns: int) -> bool:
        """Whether the name of an unnamed container may come in a moment; fixes the name if there is one."""
        lasts = self._containers.lasts(identity.container_id, now_ns)
        reported = self._reported(identity)
        if reported is not None:
            called = _Called(safe_name(reported.name), reported.kind)
        elif lasts and self.of_pods is not None and identity.pod_uid and _is_roots(identity):
            # Kubernetes goes first for what is in a pod, also where an engine knows it by a longer name.
            return True
        elif self._is_pause(identity):
            called = _Called(PAUSE_NAME, PAUSE)
        else:
            answer = self._of_engine(identity)
            called = _Called(answer or safe_name(identity.container_name))
            if not called.name:
                return answer is None and lasts
        self._called[identity.container_id] = called
        return False

    def _reported(self, identity: CgroupIdentity) -> NamedContainer | None:
        """The container as the cluster has reported it in the pod that its path names."""
        if self.of_pods is None or not _is_roots(identity):
            return None
        return self.of_pods.container(identity.pod_uid, identity.container_id)

    def _is_pause(self, identity: CgroupIdentity) -> bool:
        """Whether it is a pod's own container: in no status of the known pod, with a pause program in it.

        Only asked once the grace time is over: a container of the pod may run a program of that name as well,
        and its status comes a moment after its start.
        """
        if self.of_pods is None or not _is_roots(identity) or self.of_pods.pod(identity.pod_uid) is None:
            return False
        return identity.container_id in self._pausing

    def _of_engine(self, identity: CgroupIdentity) -> str | None:
        """Its name there; empty if it has none or isn't the engine's; None while it hasn't answered."""
        if self.of_engine is None or not may_name(identity):
            return ""
        return self.of_engine.name(identity.container_id)

    def pods(self, pod_uids: Collection[str], now_ns: int) -> tuple[Pods, PodLabels]:
        """By uid, of the pods that there are: what is known of them, and their chosen labels.

        The same tables as long as nothing has changed, which is most of the time.
        """
        if self.of_pods is None:
            return no_pods(), no_pod_labels()
        present = {one for one in pod_uids if one and _OWNED not in one}
        made_of = (self.of_pods.version, present)
        if made_of != self._pods_made_of:
            self._pods.see(present, now_ns)
            self._pod_tables = self._made(self.of_pods, present, now_ns)
            self._pods_made_of = None if self._pod_tables[0].is_awaited else made_of
        return self._pod_tables

    def _made(self, of_pods: PodNames, present: Collection[str], now_ns: int) -> tuple[Pods, PodLabels]:
        known = {one: pod for one in present if (pod := of_pods.pod(one)) is not None}
        awaited = {one for one in present if one not in known and self._pods.lasts(one, now_ns)}
        listed = sorted(known.keys() | awaited)
        found = [known.get(one) for one in listed]
        pods = Pods(
            pod_uid=listed,
            pod_name=[pod.name if pod else "" for pod in found],
            namespace=[pod.namespace if pod else "" for pod in found],
            api_uid=if_any([pod.api_uid if pod and pod.api_uid != pod.uid else "" for pod in found]),
            owner_kind=if_any([pod.owner_kind if pod else "" for pod in found]),
            owner_name=if_any([pod.owner_name if pod else "" for pod in found]),
            qos_class=if_any([pod.qos_class if pod else "" for pod in found]),
            is_awaited=U8(one in awaited for one in listed) if awaited else U8(),
        )
        labels = [(one, *label) for one in sorted(known) for label in sorted(known[one].labels.items())]
        return pods, PodLabels(
            pod_uid=[row[0] for row in labels],
            label=[row[1] for row in labels],
            value=[row[2] for row in labels],
        )

    def cpu_requests_m(self, seen: Mapping[str, CgroupIdentity]) -> Mapping[str, int]:
        """CPU requests by container id, of containers that are known in their pods."""
        if self.of_pods is None:
            return {}
        made_of = (self.of_pods.version, seen)
        if made_of != self._requests_made_of:
            reported = {one: self._reported(identity) for one, identity in seen.items()}
            self._requests = {
                one: found.cpu_request_m for one, found in reported.items() if found is not None
            }
            self._requests_made_of = made_of
        return self._requests


def _is_roots(identity: CgroupIdentity) -> bool:
    return _OWNED not in identity.container_id and _OWNED not in identity.pod_uid
