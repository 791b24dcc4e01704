# SPDX-License-Identifier: Apache-2.0
"""Which virtual machine, pod and unit each row of a frame's containers belongs to; their names. Pure.

A container has a row for each virtual machine in it and one for the rest; host processes have one for each
unit; what has ended is in rows of its own. So a level's series are sums over rows, and rows with equal labels
are one series.
"""

from collections.abc import Mapping, Sequence
from itertools import compress, repeat

from wattline.wire.frames import UNMATCHED_UNIT, Energy, EnergyContainers

from .exposition import Rows, label_text

TERMINATED = "terminated"  # container id of the rows that have what ended containers used
SYSTEM = "system_processes"  # of those of host processes
NOT_CONTAINERS = (SYSTEM, "kernel_processes", "unknown_processes", TERMINATED)
NO_UNIT = "other"  # label of host processes in no unit, and of units that have ended; units' names have a dot


def vm_ids(containers: EnergyContainers) -> Sequence[str]:
    """The virtual machine of each row; empty where there is none, or where nobody was asked."""
    return containers.vm_id or [""] * len(containers)


def container_names(containers: EnergyContainers) -> Sequence[str]:
    """What each row's container is called; empty where nothing tells."""
    return containers.container_name or [""] * len(containers)


def pod_names(energy: Energy) -> dict[str, tuple[str, str]]:
    """(name, namespace) by pod uid, of pods that have one."""
    pods = energy.pods
    return dict(zip(pods.pod_uid, zip(pods.pod_name, pods.namespace, strict=True), strict=True))


def awaited_pods(energy: Energy) -> set[str]:
    """The pods whose name may come in a moment."""
    return set(compress(energy.pods.pod_uid, energy.pods.is_awaited))


def shown_containers(energy: Energy) -> list[bool]:
    """True for rows whose container's names are final: its own and its pod's. Others have no series yet."""
    containers, pods = energy.containers, awaited_pods(energy)
    awaited = containers.is_awaited or repeat(0)
    return [
        container_id in NOT_CONTAINERS or not (is_awaited or pod_uid in pods)
        for container_id, pod_uid, is_awaited in zip(
            containers.container_id, containers.pod_uid, awaited, strict=False
        )
    ]


def shown_pods(energy: Energy) -> list[bool]:
    """True for rows in a pod whose name is final."""
    hidden = awaited_pods(energy) | {""}
    return [pod_uid not in hidden for pod_uid in energy.containers.pod_uid]


def rows_by_vm(containers: EnergyContainers) -> Rows:
    """A series per virtual machine, by Kepler's label."""
    return _labelled("vm_id", vm_ids(containers))


def rows_by_pod(energy: Energy) -> Rows:
    """A series per pod, with what its ended containers used: so it does not fall when one of them ends."""
    pod_uids, names = energy.containers.pod_uid, pod_names(energy)
    labels = {pod_uid: label_text(pod_labels(pod_uid, names)) for pod_uid in set(pod_uids)}
    return Rows([labels[pod_uid] for pod_uid in pod_uids], shown_pods(energy))


def pod_labels(pod_uid: str, names: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """What all of Wattline's series of a pod are labelled with. `names`: as `pod_names` has them."""
    pod_name, namespace = names.get(pod_uid, ("", ""))
    return {"pod_uid": pod_uid, "pod_name": pod_name, "namespace": namespace}


def rows_by_unit(containers: EnergyContainers) -> Rows:
    """A series per unit and one for the rest of host processes: together they are `system_processes`."""
    is_host = [container_id == SYSTEM for container_id in containers.container_id]
    return Rows([label_text({"unit": unit or NO_UNIT}) for unit in units(containers)], is_host)


def rows_unmatched(containers: EnergyContainers) -> Rows:
    """One series without labels: host processes in cgroups that match nothing."""
    matches = [
        container_id == SYSTEM and unit == UNMATCHED_UNIT
        for container_id, unit in zip(containers.container_id, units(containers), strict=True)
    ]
    return Rows([""] * len(containers), matches)


def units(containers: EnergyContainers) -> Sequence[str]:
    """The unit of each row; empty where there is none."""
    return containers.unit or [""] * len(containers)


def _labelled(name: str, values: Sequence[str]) -> Rows:
    """Rows by one label; those in which it is empty are in no series."""
    return Rows([label_text({name: value}) if value else "" for value in values], [*map(bool, values)])
