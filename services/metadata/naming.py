# SPDX-License-Identifier: Apache-2.0
"""Names of containers and pods: asks who knows them, and joins the answers to what is running."""

from collections.abc import Mapping
from types import MappingProxyType

from wattline.runtime import Runtime
from wattline.wire.frames import Activity, MetadataCgroups, MetadataContainers, SourceState
from wattline.wire.identities import PodLabels, Pods

from .cluster.pod import Pod
from .cluster.pod_names import PodNames
from .cluster.source import open_source
from .directory import Directory
from .engine_names import EngineNames
from .name_tables import NameTables
from .settings import MetadataSettings

# The program that keeps a pod's namespaces: in Kubernetes' own image, and in OpenShift's.
_PAUSE_COMMS = ("pause", "pod")
_NO_PODS: Mapping[str, Pod] = MappingProxyType({})


class Naming:
    """Names for the answer to a frame, which an engine may hold up for half a second, and a cluster never."""

    def __init__(self, settings: MetadataSettings, runtime: Runtime, directory: Directory) -> None:
        self._runtime = runtime
        self._directory = directory
        self._engine = EngineNames(settings.docker_socket, runtime)
        self._cluster = open_source(settings, runtime.log, runtime.count)
        self._of_pods = PodNames() if self._cluster is not None else None
        grace_ns = round(settings.kubernetes_name_grace_s * 1e9)
        self._tables = NameTables(grace_ns, self._of_pods, self._engine.names)
        self._pausing: set[str] = set()
        self._now_ns = 0

    def close(self) -> None:
        """End the source of pods."""
        if self._cluster is not None:
            self._cluster.close()

    def answer(self, activity: Activity) -> None:
        """Learn what new containers and pods of a frame are called."""
        self.look(activity.mono_ns)
        if self._of_pods is not None:
            self._pausing = self._directory.containers_running(_PAUSE_COMMS, activity)
        self._engine.ask(self._directory.containers(), activity.mono_ns)

    def look(self, now_ns: int) -> None:
        """Take what the cluster has reported by now. As often as may be: a pod may last for a moment only."""
        self._now_ns = max(self._now_ns, now_ns)
        if self._cluster is None or self._of_pods is None:
            return
        has_told = self._cluster.has_told()  # asked first: the list is complete then
        for trouble in self._of_pods.take(self._cluster.pods(), self._now_ns, has_told=has_told):
            self._runtime.count("pod_unclear", trouble)

    def tables(self) -> tuple[MetadataCgroups, MetadataContainers, Pods, PodLabels]:
        """As the metadata frame has them."""
        containers, pod_uids = self._directory.containers(), self._directory.pod_uids()
        if self._of_pods is not None:
            self._of_pods.forget(pod_uids, containers, self._now_ns)
        is_told = self._of_pods is not None and self._of_pods.has_told
        return (
            self._directory.cgroups(self._tables.cpu_requests_m(containers) if is_told else None),
            self._tables.containers(containers, self._pausing, self._now_ns),
            *self._tables.pods(pod_uids, self._now_ns),
        )

    def reported_pods(self) -> Mapping[str, Pod]:
        """The node's pods by uid, as the cluster has them now; none without a cluster."""
        return self._cluster.pods() if self._cluster is not None else _NO_PODS

    def pod(self, pod_uid: str) -> Pod | None:
        """A pod that the cluster has reported."""
        return self._of_pods.pod(pod_uid) if self._of_pods is not None else None

    def sources(self) -> list[SourceState]:
        """States of the engine and the cluster, where they are asked."""
        return [*self._engine.source(), *([self._cluster.state()] if self._cluster is not None else [])]


def awaited(pods: Pods) -> set[str]:
    """Uids of the pods in a table that may have a name in a moment."""
    return {uid for uid, is_awaited in zip(pods.pod_uid, pods.is_awaited, strict=False) if is_awaited}
