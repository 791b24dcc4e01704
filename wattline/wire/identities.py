# SPDX-License-Identifier: Apache-2.0
"""What pods and virtual machines are called: tables that metadata and energy have in common.

Metadata says what is known; energy what the workload's series are labelled with, which never changes again.
Devices that pods hold are in metadata alone.
"""

from msgspec import field

from .columns import U8
from .table import Table


class Pods(Table, kw_only=True):
    """Pods by the uid that their cgroups bear.

    `pod_name` is empty where no name is known; `is_awaited`: 1 while one may come in a moment. `api_uid` is
    the uid in the API where it is another one (a static pod's mirror). `owner_kind` and `owner_name` are the
    workload that it belongs to, as Deployment and its name; empty: none. `qos_class` is Kubernetes' own word.
    """

    optional = frozenset({"api_uid", "owner_kind", "owner_name", "qos_class", "is_awaited"})

    pod_uid: list[str]
    pod_name: list[str]
    namespace: list[str]
    api_uid: list[str] = field(default_factory=list)
    owner_kind: list[str] = field(default_factory=list)
    owner_name: list[str] = field(default_factory=list)
    qos_class: list[str] = field(default_factory=list)
    is_awaited: U8 = field(default_factory=U8)


class PodLabels(Table, kw_only=True):
    """The chosen labels of pods: a row for each that a pod has."""

    pod_uid: list[str]
    label: list[str]
    value: list[str]


class Machines(Table, kw_only=True):
    """Virtual machines by their id in `vm_id` columns.

    `uuid` is the machine's own, `namespace` that of KubeVirt's; `hypervisor` is qemu, cloud-hypervisor or
    firecracker. Each is empty where it isn't known.
    """

    optional = frozenset({"namespace", "uuid", "hypervisor"})

    vm_id: list[str]
    vm_name: list[str]
    namespace: list[str] = field(default_factory=list)
    uuid: list[str] = field(default_factory=list)
    hypervisor: list[str] = field(default_factory=list)


class HeldDevices(Table, kw_only=True):
    """Devices that pods' containers hold: a row for each, several for a shared one.

    `container_id` is empty where it isn't known. `resource` and `device_id` are Kubernetes' words.
    """

    pod_uid: list[str]
    container_id: list[str]
    resource: list[str]
    device_id: list[str]


def no_pods() -> Pods:
    """A table without rows, as an older publisher's frame has it."""
    return Pods(pod_uid=[], pod_name=[], namespace=[])


def no_pod_labels() -> PodLabels:
    """Likewise."""
    return PodLabels(pod_uid=[], label=[], value=[])


def no_machines() -> Machines:
    """Likewise."""
    return Machines(vm_id=[], vm_name=[])


def no_devices() -> HeldDevices:
    """Likewise."""
    return HeldDevices(pod_uid=[], container_id=[], resource=[], device_id=[])
