# SPDX-License-Identifier: Apache-2.0
"""Info series of containers, pods and virtual machines: to join their energy with what else is known. Pure.

None of a container or pod whose name is awaited: an info series whose labels change would tear each join.
"""

from collections.abc import Iterator
from itertools import repeat

from wattline.wire.frames import Energy

from .exposition import Family, label_text
from .gauges import info
from .label_names import label_names
from .workloads import (
    NOT_CONTAINERS,
    container_names,
    pod_labels,
    pod_names,
    shown_containers,
    shown_pods,
)


def families(energy: Energy) -> Iterator[Family]:
    """All that this frame has something for."""
    yield _container_info(energy)
    yield _pod_info(energy)
    yield _pod_labels(energy)
    yield _vm_info(energy)


def _container_info(energy: Energy) -> Family:
    containers = energy.containers
    rows = zip(
        shown_containers(energy),
        containers.container_id,
        container_names(containers),
        containers.kind or repeat(""),
        containers.runtime,
        containers.pod_uid,
        strict=False,
    )
    return info(
        "wattline_container_info",
        "its labels say what runs the container, what it is called, what kind of container it is in its pod "
        "and which pod that is.",
        [
            label_text(
                {
                    "container_id": container_id,
                    "container_name": name,
                    "kind": kind,
                    "runtime": runtime,
                    "pod_uid": pod_uid,
                }
            )
            for shown, container_id, name, kind, runtime, pod_uid in rows
            # Rows of many pods have one of these ids: several series of it would spoil every join.
            if shown and (runtime or pod_uid) and container_id not in NOT_CONTAINERS
        ],
    )


def _pod_info(energy: Energy) -> Family:
    pods, names = energy.pods, pod_names(energy)
    known = {
        uid: {"owner_kind": owner_kind, "owner_name": owner_name, "qos_class": qos_class, "api_uid": api_uid}
        for uid, owner_kind, owner_name, qos_class, api_uid in zip(
            pods.pod_uid,
            pods.owner_kind or repeat(""),
            pods.owner_name or repeat(""),
            pods.qos_class or repeat(""),
            pods.api_uid or repeat(""),
            strict=False,
        )
    }
    unknown = {"owner_kind": "", "owner_name": "", "qos_class": "", "api_uid": ""}
    return info(
        "wattline_pod_info",
        "its labels say what the pod is called and which workload it belongs to. A pod without a name has a "
        "series as well, so that joins lose nothing.",
        [
            label_text({**pod_labels(uid, names), **known.get(uid, unknown)})
            for uid in _shown_pod_uids(energy)
        ],
    )


def _pod_labels(energy: Energy) -> Family:
    table, names = energy.pod_labels, pod_names(energy)
    labels: dict[str, dict[str, str]] = {}
    for uid, label, value in zip(table.pod_uid, table.label, table.value, strict=True):
        labels.setdefault(uid, {})[label] = value
    rows = []
    for uid in _shown_pod_uids(energy):
        if uid in labels:
            called = label_names(labels[uid])
            chosen = {called[label]: value for label, value in labels[uid].items()}
            rows.append(label_text({**pod_labels(uid, names), **dict(sorted(chosen.items()))}))
    return info(
        "wattline_pod_labels",
        "its labels are those of the pod in Kubernetes that metadata was told to hand on, as they were when "
        "the pod got its series.",
        rows,
    )


def _vm_info(energy: Energy) -> Family:
    table, rows = energy.machines, set(energy.containers.vm_id)
    columns = ("vm_id", "vm_name", "namespace", "uuid", "hypervisor")
    return info(
        "wattline_vm_info",
        "its labels say what the virtual machine is called, and what runs it.",
        [
            label_text(dict(zip(columns, row, strict=True)))
            for row in zip(
                table.vm_id,
                table.vm_name,
                table.namespace or [""] * len(table),
                table.uuid or [""] * len(table),
                table.hypervisor or [""] * len(table),
                strict=True,
            )
            if row[0] in rows
        ],
    )


def _shown_pod_uids(energy: Energy) -> list[str]:
    """Each pod once, in the order of their rows."""
    rows = zip(energy.containers.pod_uid, shown_pods(energy), strict=True)
    return list(dict.fromkeys(uid for uid, shown in rows if shown))
