# SPDX-License-Identifier: Apache-2.0
"""Pods and containers as a cluster has reported them, and for a while after their end. Pure.

No I/O, no clock.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .pod import Pod

REMEMBERED_NS = 300 * 1_000_000_000  # as long as cgroups (directory.py): their last energy has to be named
_CLEAN_UP_NS = 60 * 1_000_000_000


class NamedContainer(NamedTuple):
    """A container by its name in the pod's manifest."""

    name: str
    kind: str
    cpu_request_m: int


@dataclass
class _Known:
    first: Pod  # as it was first reported: what is published
    newest: Pod
    reported_ns: int  # when it was last in a list; only right once it no longer is
    containers: dict[str, NamedContainer] = field(default_factory=dict)  # by container id
    container_reported_ns: dict[str, int] = field(default_factory=dict)  # of ids that a status no longer has


@dataclass
class PodNames:
    """Pods by the uid that their cgroups have.

    `has_told`: whether the cluster has reported all pods of this node at least once. `version` changes with
    each other report.
    """

    has_told: bool = False
    version: int = 0
    _known: dict[str, _Known] = field(default_factory=dict)
    _current: Mapping[str, Pod] = field(default_factory=dict)
    _cleaned_ns: int = 0

    def take(self, pods: Mapping[str, Pod], now_ns: int, *, has_told: bool) -> list[str]:
        """Take a source's pods. Returns what of new or changed ones could not be read, for people."""
        self.has_told |= has_told
        if pods is self._current:
            return []
        for uid in self._current:
            self._known[uid].reported_ns = now_ns
        self._current = pods
        self.version += 1
        return [trouble for uid, pod in pods.items() if (trouble := self._take(uid, pod, now_ns))]

    def _take(self, uid: str, pod: Pod, now_ns: int) -> str:
        known = self._known.get(uid)
        if known is None:
            known = self._known[uid] = _Known(pod, pod, now_ns)
        elif known.newest is pod:
            return ""
        before = "" if known.first is pod else known.newest.trouble
        known.newest = pod
        containers = {
            container_id: NamedContainer(one.name, one.kind, one.cpu_request_m)
            for one in pod.containers
            for container_id in one.container_ids
        }
        former = known.containers.keys() - containers.keys()
        known.container_reported_ns = {
            container_id: known.container_reported_ns.get(container_id, now_ns) for container_id in former
        }
        known.containers |= containers
        return f"pod {pod.namespace}/{pod.name}: {pod.trouble}" if pod.trouble not in ("", before) else ""

    def pod(self, pod_uid: str) -> Pod | None:
        """The pod as it was first reported, so that what is said of it never changes; None if it never was.

        Its containers are not to be used: they are those of that time.
        """
        known = self._known.get(pod_uid)
        return known.first if known is not None else None

    def container(self, pod_uid: str, container_id: str) -> NamedContainer | None:
        """A container of that pod; None if no status of the pod has had the id. Its request is the newest."""
        known = self._known.get(pod_uid)
        return known.containers.get(container_id) if known is not None else None

    def forget(self, pod_uids: Collection[str], container_ids: Collection[str], now_ns: int) -> None:
        """Drop what ended long ago, except pods and containers that are still in use (`pod_uids`, ...)."""
        if now_ns - self._cleaned_ns < _CLEAN_UP_NS:
            return
        self._cleaned_ns, before_ns = now_ns, now_ns - REMEMBERED_NS
        for uid, known in [*self._known.items()]:
            if uid not in self._current and known.reported_ns < before_ns and uid not in pod_uids:
                del self._known[uid]
                continue
            for container_id, reported_ns in [*known.container_reported_ns.items()]:
                if reported_ns < before_ns and container_id not in container_ids:
                    del known.container_reported_ns[container_id], known.containers[container_id]
