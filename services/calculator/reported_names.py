# SPDX-License-Identifier: Apache-2.0
"""Names of containers, pods and machines as a metadata frame reports them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

from wattline.wire.frames import Metadata, MetadataContainers
from wattline.wire.identities import Machines, PodLabels, Pods

# The longest name in Kubernetes: a DNS subdomain of RFC 1123.
TEXT_MAX = 253
LABELS_MAX = 16  # of one pod, that metadata may be set to publish


class ContainerName(NamedTuple):
    """Name and kind of a container; empty: not known."""

    container_name: str = ""
    kind: str = ""


class PodName(NamedTuple):
    """A pod in Kubernetes, each part empty where it isn't known. `labels`: (name, value), sorted."""

    pod_name: str = ""
    namespace: str = ""
    api_uid: str = ""
    owner_kind: str = ""
    owner_name: str = ""
    qos_class: str = ""
    labels: tuple[tuple[str, str], ...] = ()


class MachineName(NamedTuple):
    """A virtual machine's name and what else identifies it."""

    vm_name: str = ""
    namespace: str = ""
    uuid: str = ""
    hypervisor: str = ""


class ReportedNames(NamedTuple):
    """Names by container id, pod uid and machine id. What is awaited has a row as well."""

    containers: Mapping[str, ContainerName]
    pods: Mapping[str, PodName]
    machines: Mapping[str, MachineName]
    awaited_containers: frozenset[str]
    awaited_pods: frozenset[str]


NO_NAMES = ReportedNames({}, {}, {}, frozenset(), frozenset())


def reported_names(metadata: Metadata) -> ReportedNames:
    """The names in a frame."""
    containers, pods = metadata.containers, metadata.pods
    return ReportedNames(
        container_names(containers),
        pod_names(pods, metadata.pod_labels),
        machine_names(metadata.machines),
        frozenset(_awaited(containers.container_id, containers.is_awaited)),
        frozenset(_awaited(pods.pod_uid, pods.is_awaited)),
    )


def container_names(table: MetadataContainers) -> dict[str, ContainerName]:
    """Names by container id, each text at most TEXT_MAX long, as below."""
    rows = zip(table.container_id, table.container_name, table.kind or repeat(""), strict=False)
    return {one: ContainerName(name[:TEXT_MAX], kind[:TEXT_MAX]) for one, name, kind in rows}


def pod_names(pods: Pods, pod_labels: PodLabels) -> dict[str, PodName]:
    """Names by pod uid, with at most LABELS_MAX labels each."""
    labels: dict[str, dict[str, str]] = {}
    for pod_uid, label, value in zip(pod_labels.pod_uid, pod_labels.label, pod_labels.value, strict=True):
        labels.setdefault(pod_uid, {})[label[:TEXT_MAX]] = value[:TEXT_MAX]
    rows = zip(
        pods.pod_uid,
        pods.pod_name,
        pods.namespace,
        pods.api_uid or repeat(""),
        pods.owner_kind or repeat(""),
        pods.owner_name or repeat(""),
        pods.qos_class or repeat(""),
        strict=False,
    )
    found = {}
    for uid, *texts in rows:
        name, namespace, api_uid, owner_kind, owner_name, qos_class = _short(texts)
        chosen = tuple(sorted(labels.get(uid, {}).items())[:LABELS_MAX])
        found[uid] = PodName(name, namespace, api_uid, owner_kind, owner_name, qos_class, chosen)
    return found


def machine_names(table: Machines) -> dict[str, MachineName]:
    """Names by machine id."""
    rows = zip(
        table.vm_id,
        table.vm_name,
        table.namespace or repeat(""),
        table.uuid or repeat(""),
        table.hypervisor or repeat(""),
        strict=False,
    )
    return {vm_id: MachineName(*_short(texts)) for vm_id, *texts in rows}


def _short(texts: Iterable[str]) -> list[str]:
    return [text[:TEXT_MAX] for text in texts]


def _awaited(ids: list[str], is_awaited: Sequence[int]) -> Iterator[str]:
    return (one for one, awaited in zip(ids, is_awaited, strict=False) if awaited)
