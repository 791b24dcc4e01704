# SPDX-License-Identifier: Apache-2.0
"""Names of workloads, as columns and tables of an energy frame. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from wattline.wire.columns import U8
from wattline.wire.identities import Machines, PodLabels, Pods

from .fixed_names import FixedNames
from .reported_names import ContainerName, MachineName, PodName
from .workloads import Workload

_NO_CONTAINER, _NO_POD = ContainerName(), PodName()


def container_columns(fixed: FixedNames, rows: Sequence[Workload]) -> dict[str, Any]:
    """The columns of `containers` that name them, each only if it says something."""
    names = [fixed.containers.get(one.container_id, _NO_CONTAINER) for one in rows]
    columns = {
        "container_name": [name.container_name for name in names],
        "kind": [name.kind for name in names],
        "is_awaited": U8(one.container_id in fixed.awaited_containers_ns for one in rows),
    }
    return {name: column for name, column in columns.items() if any(column)}


def identity_tables(fixed: FixedNames) -> dict[str, Any]:
    """The tables `pods`, `pod_labels` and `machines`: all that have a name, or await one."""
    pods = [(uid, name, 0) for uid, name in fixed.pods.items() if name != _NO_POD]
    return {
        "pods": pods_table(sorted([*pods, *((uid, _NO_POD, 1) for uid in fixed.awaited_pods_ns)])),
        "pod_labels": pod_labels_table(fixed.pods),
        "machines": machines_table(fixed.machines),
    }


def pods_table(rows: Sequence[tuple[str, PodName, int]]) -> Pods:
    """The table of (uid, name, 1 if the name is awaited) each."""
    columns = {
        "api_uid": [name.api_uid for _uid, name, _awaited in rows],
        "owner_kind": [name.owner_kind for _uid, name, _awaited in rows],
        "owner_name": [name.owner_name for _uid, name, _awaited in rows],
        "qos_class": [name.qos_class for _uid, name, _awaited in rows],
        "is_awaited": U8(awaited for _uid, _name, awaited in rows),
    }
    return Pods(
        pod_uid=[uid for uid, _name, _awaited in rows],
        pod_name=[name.pod_name for _uid, name, _awaited in rows],
        namespace=[name.namespace for _uid, name, _awaited in rows],
        **{name: column for name, column in columns.items() if any(column)},  # type: ignore[arg-type]
    )


def pod_labels_table(pods: Mapping[str, PodName]) -> PodLabels:
    """All labels of pods."""
    rows = [(uid, *label) for uid, name in sorted(pods.items()) for label in name.labels]
    return PodLabels(
        pod_uid=[uid for uid, _label, _value in rows],
        label=[label for _uid, label, _value in rows],
        value=[value for _uid, _label, value in rows],
    )


def machines_table(machines: Mapping[str, MachineName]) -> Machines:
    """All machines with a name."""
    names = [name for _vm_id, name in sorted(machines.items())]
    return Machines(
        vm_id=sorted(machines),
        vm_name=[name.vm_name for name in names],
        namespace=[name.namespace for name in names],
        uuid=[name.uuid for name in names],
        hypervisor=[name.hypervisor for name in names],
    )
