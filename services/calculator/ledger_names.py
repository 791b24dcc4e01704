# SPDX-License-Identifier: Apache-2.0
"""What workloads are called, in the ledger. Pure."""

from typing import Any

from wattline.wire.columns import U64
from wattline.wire.frames import MetadataContainers
from wattline.wire.identities import Machines, PodLabels, Pods
from wattline.wire.table import Table

from .called import Called
from .energy_names import machines_table, pod_labels_table, pods_table
from .told_names import ContainerName, container_names, machine_names, pod_names
from .workloads import Workloads

_CONTAINER, _POD = "container", "pod"


class AwaitedTable(Table, kw_only=True):
    """Names that are awaited: of a `level` (container or pod), and for how long calculators have waited."""

    level: list[str]
    id: list[str]
    waited_ns: U64


def no_awaited() -> AwaitedTable:
    """The table without a row, as of an older ledger."""
    return AwaitedTable(level=[], id=[], waited_ns=U64())


def no_containers() -> MetadataContainers:
    """Likewise."""
    return MetadataContainers(container_id=[], container_name=[])


def called_tables(called: Called) -> dict[str, Any]:
    """The document's fields: all fixed names, those that are empty too, and what is awaited."""
    awaited = [
        *((_CONTAINER, *one) for one in called.awaited_containers_ns.items()),
        *((_POD, *one) for one in called.awaited_pods_ns.items()),
    ]
    return {
        "called_containers": MetadataContainers(
            container_id=list(called.containers),
            container_name=[name.container_name for name in called.containers.values()],
            kind=[name.kind for name in called.containers.values()],
        ),
        "called_pods": pods_table([(uid, name, 0) for uid, name in called.pods.items()]),
        "called_pod_labels": pod_labels_table(called.pods),
        "called_machines": machines_table(called.machines),
        "called_awaited": AwaitedTable(
            level=[level for level, _id, _ns in awaited],
            id=[one for _level, one, _ns in awaited],
            waited_ns=U64(waited_ns for _level, _id, waited_ns in awaited),
        ),
    }


def called_from(
    containers: MetadataContainers,
    pods: Pods,
    pod_labels: PodLabels,
    machines: Machines,
    awaited: AwaitedTable,
) -> Called:
    """The names of a ledger."""
    waited = list(zip(awaited.level, awaited.id, awaited.waited_ns, strict=True))
    return Called(
        container_names(containers),
        pod_names(pods, pod_labels),
        machine_names(machines),
        {one: waited_ns for level, one, waited_ns in waited if level == _CONTAINER},
        {one: waited_ns for level, one, waited_ns in waited if level == _POD},
    )


def called_before(workloads: Workloads, names: dict[str, str]) -> Called:
    """The names of a ledger from before pods had any: what was shown with labels keeps them.

    Containers without a name in a pod are open: they get new labels by their pod's name anyway.
    """
    return Called(
        {
            container_id: ContainerName(names.get(container_id, ""))
            for container_id, pod_uid in workloads.pod_of.items()
            if names.get(container_id) or not pod_uid
        }
    )
