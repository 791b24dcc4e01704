# SPDX-License-Identifier: Apache-2.0
"""Names of workloads in the ledger. Pure."""

from typing import Any

from wattline.wire.columns import U64
from wattline.wire.frames import MetadataContainers
from wattline.wire.identities import Machines, PodLabels, Pods
from wattline.wire.table import Table

from .energy_names import machines_table, pod_labels_table, pods_table
from .fixed_names import FixedNames
from .reported_names import ContainerName, container_names, machine_names, pod_names
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


def fixed_tables(fixed: FixedNames) -> dict[str, Any]:
    """The document's fields: all fixed names, empty ones too, and the awaited ones."""
    awaited = [
        *((_CONTAINER, *one) for one in fixed.awaited_containers_ns.items()),
        *((_POD, *one) for one in fixed.awaited_pods_ns.items()),
    ]
    return {
        "fixed_containers": MetadataContainers(
            container_id=list(fixed.containers),
            container_name=[name.container_name for name in fixed.containers.values()],
            kind=[name.kind for name in fixed.containers.values()],
        ),
        "fixed_pods": pods_table([(uid, name, 0) for uid, name in fixed.pods.items()]),
        "fixed_pod_labels": pod_labels_table(fixed.pods),
        "fixed_machines": machines_table(fixed.machines),
        "fixed_awaited": AwaitedTable(
            level=[level for level, _id, _ns in awaited],
            id=[one for _level, one, _ns in awaited],
            waited_ns=U64(waited_ns for _level, _id, waited_ns in awaited),
        ),
    }


def fixed_from(
    containers: MetadataContainers,
    pods: Pods,
    pod_labels: PodLabels,
    machines: Machines,
    awaited: AwaitedTable,
) -> FixedNames:
    """The names of a ledger."""
    waited = list(zip(awaited.level, awaited.id, awaited.waited_ns, strict=True))
    return FixedNames(
        container_names(containers),
        pod_names(pods, pod_labels),
        machine_names(machines),
        {one: waited_ns for level, one, waited_ns in waited if level == _CONTAINER},
        {one: waited_ns for level, one, waited_ns in waited if level == _POD},
    )


def fixed_before(workloads: Workloads, names: dict[str, str]) -> FixedNames:
    """The names of a ledger from before pods had any: what was shown with labels keeps them.

    Containers without a name in a pod are open: they get new labels by their pod's name anyway.
    """
    return FixedNames(
        {
            container_id: ContainerName(names.get(container_id, ""))
            for container_id, pod_uid in workloads.pod_of.items()
            if names.get(container_id) or not pod_uid
        }
    )
